"""The in-process engine: `ask` as a loop over `Site` objects. For tests, sweeps, and hundreds of simulated sites."""

from collections.abc import Callable, Mapping, Sequence

from mdhfl.federation import Ask
from mdhfl.messages import Answer, Request
from mdhfl.site import Site

Heard = Callable[[Request, Answer], None]


def ask_in_process(sites: Mapping[str, Site], *, heard: Heard = lambda request, answer: None) -> Ask:
    """Return an `ask` that calls the sites one after another.

    Args:
        sites: site name -> site.
        heard: told of every answer as it comes, for progress.
    """
    order: Sequence[str] = sorted(sites)

    def ask(request: Request) -> Mapping[str, Answer]:
        answers = {}
        for name in order:
            answers[name] = sites[name].answer(request)
            heard(request, answers[name])
        return answers

    return ask

"""The in-process engine: `ask` as a loop over `Site` objects. For tests, sweeps, and hundreds of simulated sites."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mdhfl.experiment import Experiment
from mdhfl.federation import Ask, federate
from mdhfl.messages import Answer, Request
from mdhfl.results import Results
from mdhfl.run_folder import read_run, site_settings_path
from mdhfl.site import Site
from mdhfl.site_settings import read_site_settings

Heard = Callable[[Request, Answer], None]


def _silent(request: Request, answer: Answer) -> None:
    pass


def run_in_process(folder: Path, *, experiment: Experiment, heard: Heard = _silent) -> dict[str, Any]:
    """Run a run folder's experiment, or what is left of it, and return its summary.

    Args:
        folder: as `create_run` wrote it.
        experiment: the folder's.
        heard: told of every answer as it comes, for progress.

    Raises:
        TooFewSites: too few usable answers in a round; nothing recorded is lost.
    """
    results = Results(folder, experiment=experiment)
    sites = {site: Site(read_site_settings(site_settings_path(folder, site))) for site in experiment.sites}
    federate(experiment, ask=ask_in_process(sites, heard=heard), record=results.record, last=results.resume())
    return results.summarise(engine="inprocess", federation=read_run(folder)[1]["federation"])


def ask_in_process(sites: Mapping[str, Site], *, heard: Heard = _silent) -> Ask:
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

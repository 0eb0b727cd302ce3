"""The in-process engine: `ask` as calls of `Site` objects. For tests, sweeps, and hundreds of simulated sites."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from mdhfl.learning.cache import ImageCache
from mdhfl.rounds.experiment import Experiment
from mdhfl.rounds.loop import federate
from mdhfl.runs.folder import read_record, server_settings_path, site_settings_path
from mdhfl.runs.progress import Step, forget_steps, note_step
from mdhfl.runs.side_by_side import OnAnswer, answer_of, processes_for, side_by_side
from mdhfl.server.results import Results
from mdhfl.server.trainer import trainer_from
from mdhfl.sharing.exchange import Ask
from mdhfl.sharing.messages import Answer, Request
from mdhfl.site.border import Border
from mdhfl.site.settings import read_site_settings
from mdhfl.site.site import Site
from mdhfl.site.work import Surroundings
from mdhfl.swarm.peers import PeerError


def _silent(request: Request, answer: Answer) -> None:
    pass


class InProcessPeers:
    """One site's way to the others: a call."""

    def __init__(self, sites: Mapping[str, Site], *, own: str) -> None:
        self._sites, self._own = sites, own

    def send(self, site: str, message: Mapping[str, Any]) -> Mapping[str, Any]:
        """Call the other site. Raises PeerError if there is none, or it refuses."""
        if site not in self._sites:
            raise PeerError(f"site {site!r} cannot be reached: there is no such site in this process")
        asked = Border(self._sites[self._own].settings).message(message, to=site)
        if asked.get("refusal"):
            raise PeerError(str(asked["refusal"]))
        answered = self._sites[site].receive(self._own, asked)
        reply = Border(self._sites[site].settings).message(answered, to=self._own, reply_to=asked)
        if reply.get("refusal"):
            raise PeerError(str(reply["refusal"]))
        return reply


def open_sites(folder: Path, *, names: Sequence[str], cache: ImageCache | None = None) -> dict[str, Site]:
    """Open all sites of a run's folder in this process, each with the others as its peers."""
    settings = {name: read_site_settings(site_settings_path(folder, name)) for name in names}
    pool = tuple(settings[name].data for name in names)
    sites: dict[str, Site] = {}
    reachable: WeakValueDictionary[str, Site] = WeakValueDictionary()  # a site does not keep the others in memory
    for name in names:
        surroundings = Surroundings(peers=InProcessPeers(reachable, own=name), cache=cache, pool=pool)
        reachable[name] = sites[name] = Site(settings[name], surroundings=surroundings)
    return sites


def run_in_process(
    folder: Path,
    *,
    experiment: Experiment,
    on_answer: OnAnswer = _silent,
    cache: ImageCache | None = None,
    all_cores: bool = False,
) -> dict[str, Any]:
    """Run a run folder's experiment, or what is left of it, and return its summary.

    Args:
        folder: as `create_run` wrote it.
        experiment: the folder's.
        on_answer: called with every answer as it comes, for progress.
        cache: decoded images that other runs on the same federation may share.
        all_cores: let the sites work side by side, in processes of their own, where that can be. Equal results.

    Raises:
        TooFewSites: too few usable answers in a round; nothing recorded is lost.
        SitesDied: a process of sites was killed; nothing recorded is lost.
        InUse: another process runs it.
    """
    results = Results(folder, experiment=experiment)
    sites = open_sites(folder, names=experiment.sites, cache=cache)
    processes = processes_for(sites, method=experiment.method) if all_cores else 1

    def noted(request: Request, answer: Answer) -> None:
        note_step(folder, Step.of(request, answer))
        on_answer(request, answer)

    try:
        last = results.resume()
        forget_steps(folder)
        with _asking(sites, experiment=experiment, processes=processes, on_answer=noted) as ask:
            unfinished = federate(
                experiment,
                ask=ask,
                record=results.record,
                last=last,
                decide=results.decisions,
                open_trainer=trainer_from(server_settings_path(folder), experiment=experiment),
            )
        federation = read_record(folder)["federation"]
        return results.summarise(engine="inprocess", federation=federation, unfinished=unfinished)
    finally:
        results.close()
        for site in sites.values():
            site.close()


@contextmanager
def _asking(sites: Mapping[str, Site], *, experiment: Experiment, processes: int, on_answer: OnAnswer) -> Iterator[Ask]:
    if processes == 1:
        yield ask_in_process(sites, on_answer=on_answer)
    else:
        images = experiment.training_images
        with side_by_side(sites, images=images, processes=processes, on_answer=on_answer) as ask:
            yield ask


def ask_in_process(sites: Mapping[str, Site], *, on_answer: OnAnswer = _silent) -> Ask:
    """Return an `ask` that calls the sites one after another.

    Args:
        sites: site name -> site.
        on_answer: called with every answer as it comes, for progress.
    """

    def ask(requests: Mapping[str, Request]) -> Mapping[str, Answer]:
        answers = {}
        for name in sorted(requests):
            answers[name] = answer_of(sites[name], requests[name])
            on_answer(requests[name], answers[name])
        return answers

    return ask

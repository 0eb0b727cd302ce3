"""The in-process engine on all cores: sites in processes forked from this one, one thread a site.

A forked process imports nothing again and shares what is in memory. A site's numbers depend on nothing but its requests
and its thread count, so they are those of sites that work one after another.
"""

import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from multiprocessing import current_process, get_context

from mdhfl.methods import Method
from mdhfl.runs.signals import die_with
from mdhfl.sharing.exchange import Ask
from mdhfl.sharing.messages import Answer, Request
from mdhfl.site.border import Border
from mdhfl.site.site import Site

OnAnswer = Callable[[Request, Answer], None]


class SitesDied(RuntimeError):
    """A process with sites ended before it answered. Everything recorded is kept."""


def processes_for(sites: Mapping[str, Site], *, method: Method) -> int:
    """Return how many processes sites may work in: one where forking is not safe, or sites call each other.

    Threads of a pool do not survive a fork, nor does what a process knows of its GPU.
    """
    settings = [site.settings for site in sites.values()]
    alone = (
        sys.platform != "linux"
        or current_process().daemon  # may have no children
        or any(own.device != "cpu" or own.threads != 1 for own in settings)
        or type(method).receive is not Method.receive
    )
    return 1 if alone else min(len(sites), len(os.sched_getaffinity(0)))


def shares_of(images: Mapping[str, int], *, processes: int) -> list[list[str]]:
    """Divide sites among processes so that each has about as many training images.

    Args:
        images: site -> number of training images.
        processes: at most as many as sites.
    """
    shares: list[list[str]] = [[] for _ in range(processes)]
    loads = [0] * processes
    for site in sorted(images, key=lambda name: (-images[name], name)):
        least = loads.index(min(loads))
        shares[least].append(site)
        loads[least] += images[site]
    return shares


@contextmanager
def side_by_side(
    sites: Mapping[str, Site], *, images: Mapping[str, int], processes: int, on_answer: OnAnswer
) -> Iterator[Ask]:
    """Give an `ask` whose sites work side by side; at the end, however it comes, their processes are gone.

    Args:
        sites: site name -> site, none of them opened yet.
        images: site -> number of training images, to divide the work.
        processes: how many.
        on_answer: called in this process with every answer as it comes, for progress.
    """
    import mdhfl.learning.transforms  # noqa: F401  # torch and MONAI once, here, and not in every process

    pools: dict[str, ProcessPoolExecutor] = {}
    pids: list[int] = []
    try:
        for share in shares_of(images, processes=processes):
            own = {name: sites[name] for name in share}
            pool = ProcessPoolExecutor(
                1, mp_context=get_context("fork"), initializer=_begin, initargs=(own, os.getpid())
            )
            pools |= dict.fromkeys(share, pool)
            pids.append(pool.submit(os.getpid).result())
        yield _ask(pools, on_answer=on_answer)
    except BaseException:
        for pid in pids:  # every finished round is on disk
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        raise
    finally:
        for pool in dict.fromkeys(pools.values()):
            pool.shutdown()


def _ask(pools: Mapping[str, ProcessPoolExecutor], *, on_answer: OnAnswer) -> Ask:
    def ask(requests: Mapping[str, Request]) -> Mapping[str, Answer]:
        answers = {}
        try:
            asked = {pools[name].submit(_answer, name, requests[name]): name for name in sorted(requests)}
            for future in as_completed(asked):
                name = asked[future]
                answers[name] = future.result()
                on_answer(requests[name], answers[name])
        except BrokenProcessPool as error:
            raise SitesDied(
                f"the process of {', '.join(sorted(set(requests) - set(answers)))} or of some of them was killed (out "
                "of memory?). Resume: nothing recorded is lost"
            ) from error
        return {name: answers[name] for name in sorted(requests)}

    return ask


def answer_of(site: Site, request: Request) -> Answer:
    """Return what leaves a site in answer to a request."""
    return Border(site.settings).let_out(site.answer(request).to_wire(), request)


_sites: dict[str, Site] = {}  # in a forked process: its share


def _begin(sites: Mapping[str, Site], parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    die_with(parent)
    _sites.update(sites)


def _answer(name: str, request: Request) -> Answer:
    return answer_of(_sites[name], request)

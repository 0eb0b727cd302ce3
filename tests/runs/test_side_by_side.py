"""Sites in processes of their own: the same numbers as one after another, and no process left behind."""

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from fakes.simulated import changes_for, model_of, new_run, numbers_of
from fakes.small_federation import write_federation
from hypothesis import given
from hypothesis import strategies as st

from mdhfl.jobs import RECIPES
from mdhfl.rounds.experiment import Experiment
from mdhfl.runs.inprocess import open_sites, run_in_process
from mdhfl.runs.side_by_side import SitesDied, processes_for, shares_of
from mdhfl.server.journal import read_rows
from mdhfl.server.results import Results
from mdhfl.site.border import Border

SITES = ("site-1", "site-2", "site-3")
BUNDLES = ("shufflenet_v2", "mobilenet_v2")  # MobileNet drops out at random


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_federation(
        tmp_path_factory.mktemp("uneven") / "fed", sites=SITES, training=12, testing=6, public=8, server=6
    )


OTHERS: set[int] = set()  # processes that other tests have left to this one, such as multiprocessing's tracker


@pytest.fixture(autouse=True)
def others() -> None:
    OTHERS.clear()
    OTHERS.update(child.pid for child in psutil.Process().children())


def children_at_work() -> list[psutil.Process]:
    """The processes that a test's own run has started."""
    return [child for child in psutil.Process().children() if child.pid not in OTHERS]


def started(folder: Path, federation: Path, recipe: str = "mdhfl", **options: Any) -> Experiment:
    return new_run(folder, federation, recipe=recipe, bundles=BUNDLES, changes=changes_for(recipe), **options)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["mdhfl_plus", "feddf"])
def test_sites_side_by_side_give_the_numbers_of_sites_in_turn(tmp_path: Path, uneven: Path, recipe: str) -> None:
    """Rows, what is shared, and weights, bit for bit; the answers came from other processes."""
    children: set[int] = set()

    def look(request: object, answer: object) -> None:
        children.update(child.pid for child in children_at_work())

    for name, all_cores in (("turns", False), ("side", True)):
        experiment = started(tmp_path / name, uneven, recipe)
        assert not children
        run_in_process(tmp_path / name, experiment=experiment, on_answer=look, all_cores=all_cores)
    assert len(children) == 2
    assert not any(psutil.pid_exists(pid) for pid in children)
    turns, side = (numbers_of(read_rows(tmp_path / name / "results.jsonl")) for name in ("turns", "side"))
    assert turns == side
    for site in SITES:
        one, other = (model_of(tmp_path / name, site) for name in ("turns", "side"))
        assert all(torch.equal(one[key], other[key]) for key in one)
        if recipe == "mdhfl_plus":
            assert_small(tmp_path / "side" / "sites" / site, one)


def assert_small(folder: Path, network: dict[str, torch.Tensor]) -> None:
    """A site that shares no weights keeps each thing and its generation before.

    Where it stands (weights, their average, two moments of the optimiser), and the best and the last weights.
    """
    kept = sum(path.stat().st_size for path in folder.rglob("*.pt*"))
    assert kept < 12 * sum(value.numel() * value.element_size() for value in network.values()) + 10**6


@pytest.mark.parametrize(
    ("recipe", "change"),
    [("sl_fedl", {}), ("mdhfl", {"threads": 2}), ("mdhfl", {"device": "cuda:0"})],
    ids=["sites that call each other", "more threads", "a GPU"],
)
def test_where_a_fork_is_not_safe_one_process_does_all(
    tmp_path: Path, uneven: Path, recipe: str, change: dict[str, Any]
) -> None:
    started(tmp_path / "run", uneven)
    sites = open_sites(tmp_path / "run", names=SITES)
    assert processes_for(sites, method=RECIPES["mdhfl"].method) == 2
    sites["site-2"].settings = replace(sites["site-2"].settings, **change)
    assert processes_for(sites, method=RECIPES[recipe].method) == 1


def test_a_killed_process_is_told_and_the_run_goes_on_where_it_was(tmp_path: Path, uneven: Path) -> None:
    experiment = started(tmp_path / "run", uneven)

    def kill(request: Any, answer: Any) -> None:
        if request.round == 1:
            for child in children_at_work():
                child.send_signal(signal.SIGKILL)

    with pytest.raises(SitesDied, match=r"the process of site-.* was killed \(out of memory\?\). Resume"):
        run_in_process(tmp_path / "run", experiment=experiment, on_answer=kill, all_cores=True)
    assert not children_at_work()
    assert_goes_on(tmp_path, uneven, experiment)


def test_an_interruption_ends_the_processes_at_once(tmp_path: Path, uneven: Path) -> None:
    experiment = started(tmp_path / "run", uneven)

    def interrupt(request: Any, answer: Any) -> None:
        if request.round == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_in_process(tmp_path / "run", experiment=experiment, on_answer=interrupt, all_cores=True)
    assert not children_at_work()
    assert_goes_on(tmp_path, uneven, experiment)


def assert_goes_on(folder: Path, federation: Path, experiment: Experiment) -> None:
    """The rest of a run, in turn, makes it equal to one that nobody disturbed."""
    assert Results(folder / "run", experiment=experiment).resume() is not None
    run_in_process(folder / "run", experiment=experiment)
    run_in_process(folder / "whole", experiment=started(folder / "whole", federation))
    assert numbers_of(read_rows(folder / "run" / "results.jsonl")) == numbers_of(
        read_rows(folder / "whole" / "results.jsonl")
    )


def test_what_a_site_raises_is_raised_here(tmp_path: Path, uneven: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Border, wire: object, request: object) -> None:
        raise ArithmeticError("a fault of ours")

    monkeypatch.setattr(Border, "let_out", fail)
    with pytest.raises(ArithmeticError, match="a fault of ours"):
        run_in_process(tmp_path / "run", experiment=started(tmp_path / "run", uneven), all_cores=True)
    assert not children_at_work()


@given(
    st.dictionaries(st.text("abc", min_size=1), st.integers(2, 10**4), min_size=1, max_size=30),
    st.integers(1, 30),
)
def test_every_site_has_one_process_and_the_work_is_even(images: dict[str, int], cores: int) -> None:
    processes = min(cores, len(images))
    shares = shares_of(images, processes=processes)
    assert sorted(name for share in shares for name in share) == sorted(images)
    loads = [sum(images[name] for name in share) for share in shares]
    assert all(shares)
    assert max(loads) - min(loads) <= max(images.values())

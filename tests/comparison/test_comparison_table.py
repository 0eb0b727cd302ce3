"""Tables of a comparison: means, spread, paired differences and what was not run."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mdhfl.comparison.grid import Cell
from mdhfl.comparison.table import (
    Found,
    columns_of,
    confidence_interval,
    difference_table,
    markdown,
    rows_of,
    score_table,
    site_rows_of,
)
from mdhfl.jobs import RECIPES


def found(method: str, *, seed: int, scores: tuple[float, ...], noise: str = "none", recipe: str = "local") -> Found:
    """Return a finished run with a macro-F1 for each site."""
    cell = Cell(
        federation="IID", noise=noise, method=method, seed=seed, arguments={}, recipe=RECIPES[recipe], changes={},
        rounds=1,        bundles=("shufflenet_v2",),
    )  # fmt: skip
    sites = {f"site-{i}": dict.fromkeys(("macro_f1", "balanced_accuracy", "accuracy"), s) for i, s in enumerate(scores)}
    mean = {
        **dict.fromkeys(("macro_f1", "balanced_accuracy", "accuracy"), float(np.mean(scores))),
        "ece": 0.1, "seconds": 2.0, "bytes_up": 400.0, "bytes_down": 200.0,
    }  # fmt: skip
    summary = {"mean": mean, "sites": sites, "rounds": 3}
    return Found(cell=cell, record={"summary": summary, "on_all": sites, "wall_seconds": 1.0, "peak_memory": 2**21})


RUNS = [
    found("a", seed=0, scores=(0.5, 0.7)),
    found("a", seed=1, scores=(0.6, 0.8)),
    found("b", seed=0, scores=(0.4, 0.5)),
    found("b", seed=1, scores=(0.5, 0.5)),
    found("c", seed=0, scores=(0.1, 0.1), recipe="mdhfl"),
]


def test_tables_show_mean_spread_best_and_what_was_not_run() -> None:
    lines = score_table(RUNS, metric="macro_f1").splitlines()
    assert lines[0] == "| 2 seeds | none |"
    assert lines[2] == "| a | **65.0 ± 7.1** |"  # seeds 60 and 70
    assert lines[3] == "| b | 47.5 ± 3.5 |"  # seeds 45 and 50
    assert lines[4] == "| c | 10.0 (1 of 2 seeds) |"
    text = markdown("Why?", RUNS)
    assert "| 2 seeds | macro-F1, all sites | balanced accuracy, all sites |" in text  # one noise: one table
    assert "| a | **65.0 ± 7.1** | **65.0 ± 7.1** |" in text
    assert "c: further gradient steps on the public images" in text
    assert rows_of(RUNS)[0]["bytes_up_per_site_and_round"] == 100
    assert rows_of(RUNS)[4]["shares"] == "probabilities"


def test_the_sites_scores_are_written_too() -> None:
    rows = site_rows_of(RUNS)
    assert len(rows) == 2 * len(RUNS)
    assert rows[3] == {
        "federation": "IID", "noise": "none", "method": "a", "seed": 1, "site": "site-1", "macro_f1": 80.0,
        "balanced_accuracy": 80.0, "accuracy": 80.0, "unseen_recall": None, "own_macro_f1": 80.0, "own_accuracy": 80.0,
    }  # fmt: skip


def test_the_upper_bound_is_shown_but_is_no_rival() -> None:
    bound = [found("all", seed=seed, scores=(0.9, 0.9), recipe="centralised") for seed in (0, 1)]
    lines = score_table([*RUNS, *bound], metric="macro_f1").splitlines()
    assert lines[2] == "| a | **65.0 ± 7.1** |"
    assert lines[5] == "| all | 90.0 ± 0.0 |"
    before, after = (difference_table(runs, metric="macro_f1").splitlines()[2] for runs in (RUNS, [*RUNS, *bound]))
    assert before == after


def test_differences_are_paired_by_seed() -> None:
    lines = difference_table(RUNS[:4], metric="macro_f1").splitlines()
    differences = np.array([15.0, 20.0])  # of the means over sites: seeds are repeats, sites are not
    half = 12.706 * differences.std(ddof=1) / 2**0.5
    assert lines[2] == f"| a | {differences.mean():+.1f} [{17.5 - half:+.1f}, {17.5 + half:+.1f}] |"
    assert lines[3].startswith("| b | -17.5 [")
    assert difference_table(RUNS[:3:2], metric="macro_f1").splitlines()[2] == "| a | +15.0 |"  # one seed: no interval
    assert difference_table(RUNS[:2], metric="macro_f1").splitlines()[2] == "| a | not run |"  # no rival


def test_while_runs_are_missing_all_methods_are_compared_on_the_seeds_that_all_have() -> None:
    """Else the method whose run of a seed comes last is compared with those that are as late, not with the best."""
    lines = difference_table(RUNS, metric="macro_f1").splitlines()
    assert lines[2:] == ["| a | +15.0 |", "| b | -15.0 |", "| c | -50.0 |"]
    apart = [found("a", seed=0, scores=(0.5, 0.7)), found("b", seed=1, scores=(0.5, 0.5))]
    assert difference_table(apart, metric="macro_f1").splitlines()[2:] == ["| a | not run |", "| b | not run |"]


def test_a_score_that_only_some_sites_have_is_averaged_over_those() -> None:
    runs = [found("a", seed=seed, scores=(0.5, 0.7)) for seed in (0, 1, 2)]
    runs[0].record["on_all"]["site-1"]["unseen_recall"] = 0.2
    runs[1].record["on_all"]["site-0"]["unseen_recall"] = 0.4
    assert columns_of(RUNS) == [name for name in columns_of(runs) if name != "unseen_recall"]
    assert score_table(runs, metric="unseen_recall").splitlines()[2] == "| a | **30.0 ± 14.1** |"
    assert [row["unseen_recall"] for row in rows_of(runs)] == [20.0, 40.0, None]


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=30))
def test_the_interval_is_around_the_mean(values: list[float]) -> None:
    low, high = confidence_interval(values)
    assert low - 1e-9 <= np.mean(values) <= high + 1e-9

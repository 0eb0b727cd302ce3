"""Which round is called the best: only where validation can tell, and never by one lucky score."""

from pathlib import Path

import numpy as np
import pytest
from fakes.simulated import new_run
from fakes.small_federation import write_federation
from hypothesis import given
from hypothesis import strategies as st

from mdhfl.export.bundle import export_bundle
from mdhfl.runs.folder import checkpoint_path
from mdhfl.runs.inprocess import run_in_process
from mdhfl.server.journal import read_rows
from mdhfl.site.best import ENOUGH_IMAGES, ROUNDS, steady_score, why_none
from mdhfl.store.tensors import load_tensors

SCORES = st.floats(min_value=0, max_value=1)


@given(st.lists(SCORES, min_size=1, max_size=20), st.integers(min_value=0, max_value=ENOUGH_IMAGES - 1))
def test_with_few_images_no_round_competes(scores: list[float], images: int) -> None:
    assert steady_score(scores, images=images) is None
    assert f"{images} validation images" in why_none(images=images)


@given(st.lists(SCORES, min_size=ROUNDS, max_size=20))
def test_a_round_competes_by_the_mean_of_the_last_rounds(scores: list[float]) -> None:
    assert steady_score(scores, images=ENOUGH_IMAGES) == pytest.approx(np.mean(scores[-ROUNDS:]), abs=1e-12)
    assert steady_score(scores[: ROUNDS - 1], images=10**6) is None


def test_one_lucky_round_is_not_the_best() -> None:
    """Round 1 is alone at 0.9 among rounds at 0.5; the rounds from 6 on are at 0.7, and one of them is chosen."""
    scores = [0.5, 0.9, 0.5, 0.5, 0.5, 0.5, 0.7, 0.7, 0.7, 0.69]
    steady = [steady_score(scores[: end + 1], images=100) or -1.0 for end in range(len(scores))]
    assert int(np.argmax(scores)) == 1
    assert int(np.argmax(steady)) == 8


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Validation images -> a run of four rounds, on ENOUGH_IMAGES and on one fewer."""
    work = tmp_path_factory.mktemp("best")
    found = {}
    for images in (ENOUGH_IMAGES - 1, ENOUGH_IMAGES):
        federation = write_federation(work / f"fed-{images}", training=8, testing=images, public=6)
        experiment = new_run(work / f"run-{images}", federation, rounds=4, bundles=("resnet10",))
        run_in_process(work / f"run-{images}", experiment=experiment)
        found[images] = work / f"run-{images}"
    return found


def card_of(run: Path, out: Path, *, which: str | None = None) -> str:
    export_bundle(run, site="site-1", out=out, which=which)
    return (out / "docs" / "README.md").read_text(encoding="utf-8")


def test_with_enough_images_the_kept_round_is_that_of_the_highest_mean(runs: dict[int, Path], tmp_path: Path) -> None:
    run = runs[ENOUGH_IMAGES]
    rows = [row for row in read_rows(run / "results.jsonl") if row["site"] == "site-1"]
    scores = [row["validation"]["macro_f1"] for row in rows]
    means = [np.mean(scores[end - ROUNDS : end]) for end in range(ROUNDS, len(scores) + 1)]
    expected = ROUNDS - 1 + int(np.argmax(np.round(means, 12)))
    (path,) = run.glob("sites/site-1/*/best.pt")
    assert load_tensors(path)["round"] == expected
    assert [row["round"] for row in rows if row["best"]][-1] == expected
    assert not any(row["best"] for row in rows[: ROUNDS - 1])
    card = card_of(run, tmp_path / "shared")
    assert f"best model on the {ENOUGH_IMAGES} validation images (mean of three rounds), of round {expected}" in card


def test_with_few_images_the_last_model_is_exported_and_its_card_warns(runs: dict[int, Path], tmp_path: Path) -> None:
    run = runs[ENOUGH_IMAGES - 1]
    assert not list(run.glob("sites/*/*/best.pt"))
    assert not any(row["best"] for row in read_rows(run / "results.jsonl"))
    card = " ".join(card_of(run, tmp_path / "shared").split())
    assert "This is the model of the last round, because no round can be called the best" in card
    assert f"the site has {ENOUGH_IMAGES - 1} validation images, and fewer than {ENOUGH_IMAGES} do not tell" in card
    assert "the last model, of round 4 of 4" in card
    with pytest.raises(ValueError, match=r"no best model: the site has 49 validation images.*take the last") as raised:
        card_of(run, tmp_path / "asked", which="best")
    assert "\n" not in str(raised.value)


def test_a_run_of_two_rounds_has_no_best(tmp_path: Path) -> None:
    federation = write_federation(tmp_path / "fed", training=8, testing=ENOUGH_IMAGES, public=6)
    experiment = new_run(tmp_path / "run", federation, rounds=1, bundles=("resnet10",))
    run_in_process(tmp_path / "run", experiment=experiment)
    assert not checkpoint_path(tmp_path / "run", experiment=experiment, site="site-1", which="best").exists()
    assert "the mean score of 3 rounds" in card_of(tmp_path / "run", tmp_path / "shared")

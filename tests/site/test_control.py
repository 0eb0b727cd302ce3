"""The twin that trains alone: it is the local baseline, it disturbs nobody, and an export takes it after harm."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from fakes.monai_alone import run_without_mdhfl
from fakes.simulated import new_run, numbers_of, run
from hypothesis import given
from hypothesis import strategies as st

from mdhfl.export.bundle import export_bundle
from mdhfl.metrics import confusion_matrix, macro_f1_gain, scores_from
from mdhfl.reports.write import write_report
from mdhfl.runs.folder import checkpoint_path
from mdhfl.runs.inprocess import run_in_process
from mdhfl.server.journal import lines_of, read_rows
from mdhfl.server.results import Results

QUICK = {"warm_up_epochs": 1, "local_epochs": 2, "views": 2, "competence_epochs": 1}
LOCAL = {"warm_up_epochs": 1, "local_epochs": 2}


@pytest.mark.slow
def test_the_twin_is_the_local_baseline_and_disturbs_nobody(tmp_path: Path, three_sites: Path) -> None:
    """Bit for bit: the twin's scores are those of `local_plus`, and the model's are those of a run without a twin."""
    alone, _ = run(tmp_path / "alone", three_sites, "local_plus", rounds=2, changes=LOCAL)
    without, _ = run(tmp_path / "without", three_sites, "mdhfl_plus", rounds=2, changes=QUICK)
    rows, _ = run(tmp_path / "with", three_sites, "mdhfl_plus", rounds=2, changes={**QUICK, "control": True})
    for row, local, shared in zip(rows, alone, without, strict=True):
        control = row.pop("control")
        assert control["test"] == local["test"]
        assert control["validation"] == local["validation"]
        gain = row["validation"]["macro_f1"] - control["validation"]["macro_f1"]
        assert control["difference"] == pytest.approx(gain, abs=1e-9)
        assert control["low"] <= control["difference"] + 1e-9
        assert control["difference"] <= control["high"] + 1e-9
        assert control["harmed"] == (control["high"] < 0)
        names = ("round", "site", "losses", "validation", "test", "divergence", "best")
        assert {name: row[name] for name in names} == {name: shared[name] for name in names}


@pytest.mark.slow
def test_a_restart_finds_the_twin_where_it_stood(tmp_path: Path, three_sites: Path) -> None:
    changes = {**QUICK, "control": True}
    whole, _ = run(tmp_path / "a", three_sites, "mdhfl_plus", rounds=2, changes=changes)
    experiment = new_run(tmp_path / "b", three_sites, recipe="mdhfl_plus", rounds=2, changes=changes)

    def die(request: Any, answer: Any) -> None:
        if (request.action, request.round, answer.site) == ("learn", 2, "site-1"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_in_process(tmp_path / "b", experiment=experiment, on_answer=die)
    run_in_process(tmp_path / "b", experiment=experiment)
    assert numbers_of(Results(tmp_path / "b", experiment=experiment).rows()) == whole


@pytest.fixture
def controlled(tmp_path: Path, federation: Path) -> Path:
    experiment = new_run(
        tmp_path / "run", federation, recipe="mdhfl_plus", rounds=1, changes={**QUICK, "control": True},
        bundles=("resnet10",),
    )  # fmt: skip
    run_in_process(tmp_path / "run", experiment=experiment)
    return tmp_path / "run"


def with_gain(folder: Path, **gain: float) -> None:
    """Let the last row of site-1 tell another gain."""
    rows = read_rows(folder / "results.jsonl")
    last = [row for row in rows if row["site"] == "site-1"][-1]
    last["control"].update(gain, harmed=gain["high"] < 0)
    (folder / "results.jsonl").write_bytes(lines_of(rows))


def test_an_export_takes_the_twin_only_where_sharing_did_harm(controlled: Path, tmp_path: Path) -> None:
    from mdhfl.runs.folder import read_run

    experiment, _ = read_run(controlled)
    paths = {w: checkpoint_path(controlled, experiment=experiment, site="site-1", which=w) for w in ("last", "alone")}
    models = {which: torch.load(path, weights_only=True)["model"] for which, path in paths.items()}
    cases = {
        "noise": ({"difference": -0.1, "low": -0.3, "high": 0.01}, None, "last"),
        "harm": ({"difference": -0.2, "low": -0.3, "high": -0.1}, None, "alone"),
        "asked": ({"difference": -0.2, "low": -0.3, "high": -0.1}, "last", "last"),
    }
    for name, (gain, which, expected) in cases.items():
        with_gain(controlled, **gain)
        out = export_bundle(controlled, site="site-1", out=tmp_path / name, which=which)
        exported = torch.load(out / "models" / "model.pt", weights_only=True)
        assert all(torch.equal(value, models[expected][key]) for key, value in exported.items()), name
        card = (out / "docs" / "README.md").read_text(encoding="utf-8")
        assert ("sharing changed the macro-F1 on this site's validation images by -0.200" in card) == (name == "harm")


def test_the_report_tells_each_site_what_sharing_brought(controlled: Path, tmp_path: Path) -> None:
    with_gain(controlled, difference=-0.2, low=-0.3, high=-0.1)
    page = write_report([controlled], out=tmp_path / "report").read_text(encoding="utf-8")
    section = page.partition('<section id="control">')[2].partition("</section>")[0]
    assert section.count('<th scope="row">') == 2
    assert section.count("harmed") >= 1


@pytest.mark.slow
def test_an_exported_model_uses_the_prior_of_its_scores_and_lets_its_user_choose(
    controlled: Path, federation: Path, tmp_path: Path
) -> None:
    """On the site's own test images the bundle scores as recorded; with --own_mix false it leaves the prior out."""
    out = export_bundle(controlled, site="site-1", out=tmp_path / "shared", which="last")
    row = [row for row in read_rows(controlled / "results.jsonl") if row["site"] == "site-1"][-1]
    site = federation / "sites" / "site-1"
    items = json.loads((site / "datalist.json").read_text())["test"]
    labels = {item["image"].rpartition("/")[2]: item["label"] for item in items}
    answers = {}
    for mix in ("true", "false"):
        arguments = ["--bundle_root", ".", "--input_dir", str(site / "images"), "--output_file", f"{mix}.csv"]
        done = run_without_mdhfl(out, *arguments, "--own_mix", mix.capitalize())
        assert done.returncode == 0, done.stderr[-3000:]
        with (out / f"{mix}.csv").open(encoding="utf-8", newline="") as file:
            rows = [line for line in list(csv.reader(file))[1:] if line[0] in labels]
        answers[mix] = np.array([[float(value) for value in line[2:]] for line in rows])
        if mix == "true":
            truth = np.array([labels[line[0]] for line in rows])
            counted = confusion_matrix(truth, answers[mix].argmax(axis=1), classes=3)
            assert counted.tolist() == row["test"]["confusion"]
    kept = torch.load(next(controlled.glob("sites/site-1/*/last.pt")), weights_only=True)
    configured = yaml.safe_load((out / "configs" / "inference.yaml").read_text(encoding="utf-8"))
    assert configured["scale"] == kept["scale"] != 1
    prior = kept["prior"].numpy()
    shifted = answers["false"] * np.exp(prior)
    np.testing.assert_allclose(answers["true"], shifted / shifted.sum(axis=1, keepdims=True), atol=1e-5)


@given(st.lists(st.tuples(*[st.integers(0, 3)] * 3), min_size=1, max_size=60))
def test_the_gain_is_the_difference_of_the_scores(triples: list[tuple[int, int, int]]) -> None:
    labels, ours, theirs = np.array(triples).T
    difference, low, high = macro_f1_gain(labels, ours, theirs, classes=4, resamples=50)
    scores = [scores_from(confusion_matrix(labels, each, classes=4), ece=0).macro_f1 for each in (ours, theirs)]
    assert difference == pytest.approx(scores[0] - scores[1], abs=1e-12)
    assert -1 <= low <= high <= 1
    assert ((low, high) == (-1, 1)) == (len(labels) < 20)
    interval = (-1, 1) if len(labels) < 20 else (0, 0)
    assert macro_f1_gain(labels, ours, ours, classes=4, resamples=50) == (0, *interval)


@pytest.mark.parametrize(
    ("images", "found"), [(0, (0, -1, 1)), (1, (-1, -1, 1)), (19, (-1, -1, 1)), (20, (-1, -1, -1))]
)
def test_too_few_images_harm_nobody(images: int, found: tuple[float, float, float]) -> None:
    """The twin is right about all of them, the model about none."""
    truth, wrong = np.zeros(images, dtype=np.int64), np.ones(images, dtype=np.int64)
    assert macro_f1_gain(truth, wrong, truth, classes=3) == found


def test_the_interval_of_the_gain_covers_it_as_often_as_it_says() -> None:
    """Two models, right in 80 % and 60 % of the images: the interval over 200 images holds the true gain mostly."""
    random, hits = np.random.default_rng(0), 0
    for _ in range(100):
        labels = random.integers(2, size=200)
        ours, theirs = (np.where(random.random(200) < share, labels, 1 - labels) for share in (0.8, 0.6))
        _, low, high = macro_f1_gain(labels, ours, theirs, classes=2, resamples=200)
        hits += low <= 0.2 <= high
    assert 88 <= hits <= 100

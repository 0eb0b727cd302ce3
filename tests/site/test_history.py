"""What a site keeps of its rounds: all its scores, whatever it tells; each refusal; and nothing that a round costs."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import SmallFiles
from fakes.answers import EXPERIMENT, answer_of
from fakes.simulated import new_run, set_in, site_of, tiny_bundle

from mdhfl.runs.folder import site_settings_path
from mdhfl.runs.inprocess import run_in_process
from mdhfl.server.journal import read_rows
from mdhfl.sharing.messages import Answer
from mdhfl.site.border import Border
from mdhfl.site.history import HISTORY, keep, read_part
from mdhfl.site.settings import SiteSettings, read_site_settings

SETTINGS = SiteSettings(
    site="a", bundle="resnet10", data=Path("d"), public=Path("p"), state=Path("s"), device="cpu", threads=1
)


def answer(number: int) -> Answer:
    return answer_of("a", EXPERIMENT.request("learn", number=number))


def line(folder: Path, said: Answer) -> None:
    request = EXPERIMENT.request("learn", number=said.round)
    keep(folder, said, request=request, settings=SETTINGS, bundle_digest="ab")


def test_all_scores_are_kept_though_the_site_tells_none(tmp_path: Path, federation: Path) -> None:
    experiment = new_run(tmp_path / "run", federation, bundles=[str(tiny_bundle(tmp_path / "tiny"))], rounds=2)
    path = site_settings_path(tmp_path / "run", "site-1")
    path.write_text(json.dumps({**json.loads(path.read_text()), "scores": "off"}))
    run_in_process(tmp_path / "run", experiment=experiment)
    rows = [row for row in read_rows(tmp_path / "run" / "results.jsonl") if row["site"] == "site-1"]
    assert all(row["test"]["accuracy"] is None for row in rows)
    part = read_part(tmp_path / "run" / "sites" / "site-1" / experiment.id)
    assert (part.site, part.experiment, part.method, part.seed) == ("site-1", experiment.id, "mdhfl", 0)
    assert (part.classes, part.public_digest) == (experiment.classes, experiment.public_digest)
    assert part.bundle_digest
    assert part.data == federation / "sites" / "site-1"
    assert [each.round for each in part.answers] == [0, 1, 2]
    for each in part.answers:
        assert each.shared is None
        assert each.validation is not None
        assert each.confusion is not None
        assert each.confusion.sum() == 12
    assert part.finished
    assert part.last_round == 2
    assert all(part.received[number] > 100 for number in (0, 1, 2))


def test_a_round_that_is_done_again_counts_once_and_each_refusal_stays(tmp_path: Path) -> None:
    first, again = answer(1), replace(answer(1), best=True)
    line(tmp_path, first)
    line(tmp_path, Answer(site="a", round=1, refusal="busy"))
    line(tmp_path, Answer(site="a", round=1, refusal="busy"))
    line(tmp_path, again)
    part = read_part(tmp_path)
    assert [(each.refusal, each.best) for each in part.answers] == [("busy", False), ("busy", False), ("", True)]
    assert not part.finished


def refused(folder: Path, **changes: object) -> None:
    """Note that somebody asked for something else under the experiment's name."""
    request = EXPERIMENT.request("open", number=0)
    asked = replace(request, **{"seed": 9, "method": "fedavg", "parameters": {}, **changes})  # type: ignore[arg-type]
    keep(folder, Answer(site="a", round=0, refusal="other"), request=asked, settings=SETTINGS)


def test_a_refused_request_changes_nothing_that_is_known_of_the_experiment(tmp_path: Path) -> None:
    line(tmp_path, answer(0))
    line(tmp_path, answer(1))
    before = read_part(tmp_path)
    subject = EXPERIMENT.request("open", number=0).subject
    refused(tmp_path, subject=replace(subject, classes=("y", "x"), public_digest="1" * 64))
    after = read_part(tmp_path)
    assert [each.refusal for each in after.answers] == ["", "", "other"]
    assert replace(after, answers=before.answers) == before
    assert (after.classes, after.seed, after.method) == (("x", "y"), 0, "mdhfl")


def test_of_a_site_that_has_only_refused_the_last_request_is_known(tmp_path: Path) -> None:
    refused(tmp_path, seed=8)
    refused(tmp_path)
    assert (read_part(tmp_path).seed, read_part(tmp_path).last_round) == (9, 0)


def test_half_a_line_costs_itself_alone(tmp_path: Path) -> None:
    line(tmp_path, answer(0))
    with (tmp_path / HISTORY).open("a") as file:
        file.write('{"time": "20')
    line(tmp_path, answer(1))
    part = read_part(tmp_path)
    assert ([each.round for each in part.answers], part.damaged) == ([0, 1], 1)


@pytest.mark.parametrize("change", [{"answer": {}}, {"answer": None}, {"answer": {"site": 7}}])
def test_a_line_that_holds_something_else_is_left_out(tmp_path: Path, change: dict) -> None:
    line(tmp_path, answer(0))
    path = tmp_path / HISTORY
    path.write_text(path.read_text() + json.dumps({**json.loads(path.read_text()), **change}) + "\n[]\n")
    assert read_part(tmp_path).damaged == 2


def test_a_full_disk_costs_the_line_and_not_the_round(tmp_path: Path, small_files_only: SmallFiles) -> None:
    with small_files_only(10):
        line(tmp_path, answer(0))
    line(tmp_path, answer(1))
    part = read_part(tmp_path)
    assert ([each.round for each in part.answers], part.damaged) == ([1], 1)


def test_without_a_history_the_experiments_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has answered nothing yet"):
        read_part(tmp_path)
    line(tmp_path / "trial-1", answer(0))
    with pytest.raises(ValueError, match="give one of the experiments in it: trial-1"):
        read_part(tmp_path)


def test_refusals_of_a_site_and_of_its_border_are_kept(tmp_path: Path, federation: Path) -> None:
    """A broken bundle, an answer that must not leave; nothing of an experiment without a folder's name."""
    bundle = tiny_bundle(tmp_path / "tiny")
    experiment = new_run(tmp_path / "run", federation, bundles=[str(bundle)])
    request = experiment.request("warm_up", number=0)
    site = site_of(tmp_path / "run", "site-1")
    settings = read_site_settings(site_settings_path(tmp_path / "run", "site-1"))
    spoilt = replace(answer(0), site="site-1", shared=None, confusion=np.ones((3, 3), dtype=np.uint32))
    assert "held_back" in Border(settings).let_out(spoilt.to_wire(), request).refusal
    set_in(bundle, ("batch_size: 16", 'batch_size: "$1/0"'))
    assert "bundle" in site.answer(request).refusal
    part = read_part(settings.state / experiment.id)
    assert len(part.answers) == 2
    assert all("site.log" in each.refusal for each in part.answers)
    assert site.answer(replace(request, experiment="../evil")).refusal
    assert not list(tmp_path.rglob("evil"))
    assert not (settings.state / HISTORY).exists()

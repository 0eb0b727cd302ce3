"""The report's first pictures say what the files say: labels, what was exchanged, what sharing changed."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes.pages import Reader
from fakes.simulated import run

from mdhfl.reports.divergence_view import divergence_in_the_end
from mdhfl.reports.federations import Federation, read_report_federation
from mdhfl.reports.groups import compare, group_runs
from mdhfl.reports.runs import Run, read_report_run
from mdhfl.reports.story import answers_kept, exchange, label_rows, turned
from mdhfl.reports.write import write_report
from mdhfl.server.shared_file import load_shared, shared_path
from mdhfl.sharing.competence import SMALLEST
from mdhfl.site.answers import load_answers

QUICK = {"warm_up_epochs": 1, "local_epochs": 1, "views": 2, "competence_epochs": 1}
SITES = ("site-1", "site-2", "site-3")


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory, three_sites: Path) -> Path:
    """A federation in which three training labels of site-1 are wrong."""
    folder = tmp_path_factory.mktemp("noisy") / "fed"
    shutil.copytree(three_sites, folder)
    path = folder / "sites" / "site-1" / "datalist.json"
    listed = json.loads(path.read_text())
    for i, item in enumerate(listed["training"]):
        item["clean_label"] = item["label"]
        item["label"] = (item["label"] + 1) % 3 if i in (2, 9, 15) else item["label"]
    path.write_text(json.dumps(listed))
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, noisy: Path) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("runs")
    run(folder / "shared", noisy, "mdhfl_plus", rounds=2, changes={**QUICK, "control": True})
    run(folder / "alone", noisy, "local_plus", rounds=2, changes={"warm_up_epochs": 1, "local_epochs": 1})
    return folder / "shared", folder / "alone"


@pytest.fixture(scope="module")
def read(runs: tuple[Path, Path], noisy: Path) -> tuple[Run, Run, Federation]:
    shared, alone = map(read_report_run, runs)
    return shared, alone, read_report_federation(str(noisy))


def listed(federation: Path, site: str, part: str) -> list[dict[str, Any]]:
    return list(json.loads((federation / "sites" / site / "datalist.json").read_text())[part])


@pytest.mark.slow
def test_a_site_keeps_what_its_last_model_and_its_twin_answer_and_tells_nobody(
    runs: tuple[Path, Path], noisy: Path
) -> None:
    rows = {(row["site"], row["round"]): row for row in map(json.loads, (runs[0] / "results.jsonl").open())}
    alone = {(row["site"], row["round"]): row for row in map(json.loads, (runs[1] / "results.jsonl").open())}
    for site in SITES:
        (folder,) = (runs[0] / "sites" / site).glob("*/")
        kept, truth = load_answers(folder), [item["label"] for item in listed(noisy, site, "test")]
        assert kept.alone is not None
        for values, row in ((kept.test, rows[site, 2]), (kept.alone, alone[site, 2])):
            confusion = np.zeros((3, 3), dtype=int)
            np.add.at(confusion, (truth, values.argmax(axis=1)), 1)
            assert confusion.tolist() == row["test"]["confusion"]
        assert kept.public.shape == (20, 3)
        np.testing.assert_allclose(kept.public.sum(axis=1, dtype=np.float64), 1, atol=2e-3)
        last = json.loads((folder / "left.jsonl").read_text().splitlines()[-1])
        assert last["action"] == "finish"
        assert all(field["kind"] != "array" for field in last["fields"])


def test_wrong_labels_are_marked_and_counted(read: tuple[Run, Run, Federation], noisy: Path) -> None:
    first, second, _ = label_rows(read[2])
    assert (first["site"], first["wrong"], first["all"]) == ("site-1", 3, 20)
    marked = [(tile["label"], tile["clean"]) for tile in first["tiles"] if tile["wrong"]]
    names = read[2].sites["site-1"]["classes"]
    wrong = [item for item in listed(noisy, "site-1", "training") if item["label"] != item["clean_label"]]
    assert marked == [(names[item["label"]], names[item["clean_label"]]) for item in wrong]
    assert len(first["tiles"]) == 8
    assert (second["wrong"], len(second["tiles"])) == (0, 8)


def test_the_exchange_shows_what_the_sites_said_and_the_literal_teacher(read: tuple[Run, Run, Federation]) -> None:
    shared, _, federation = read
    told = load_shared(shared_path(shared.folder, 2), number=2)
    values = {site: one.values.astype(float) for site, one in told.items()}  # type: ignore[attr-defined]
    weights = {site: SMALLEST + one.competences.astype(float) for site, one in told.items()}  # type: ignore[attr-defined]
    teacher = sum(weights[s] * values[s] for s in values) / sum(weights.values())
    teacher = teacher / teacher.sum(axis=1, keepdims=True)
    said = {
        tuple(round(100 * float(values[s][i].max())) for s in SITES): teacher[i] for i in range(20)
    }  # only the views as they are: the first 20 rows
    found = exchange(shared, federation)
    assert found is not None
    assert found["round"] == 2
    assert 1 <= len(found["rows"]) <= 3
    for row in found["rows"]:
        assert [voice["name"] for voice in row["voices"]] == list(SITES)
        literal = said[tuple(voice["percent"] for voice in row["voices"])]
        assert row["teacher"]["answer"] == shared.classes[int(literal.argmax())]
        assert row["teacher"]["percent"] == pytest.approx(100 * literal.max(), abs=1)
        assert row["source"].startswith("data:image/png;base64,")


def test_turned_answers_are_counted_against_the_run_alone(read: tuple[Run, Run, Federation], noisy: Path) -> None:
    shared, alone, federation = read
    (comparison,) = compare(group_runs([shared, alone]))
    rows = {row["site"]: row for row in turned(comparison, federation)}
    assert set(rows) == set(SITES)
    for site, row in rows.items():
        both = [answers_kept(one, site) for one in (shared, alone)]
        ours, theirs = (one.test.argmax(axis=1) for one in both if one is not None)
        truth = np.array([item["label"] for item in listed(noisy, site, "test")])
        assert row["won"] == int(((ours == truth) & (theirs != truth)).sum())
        assert row["lost"] == int(((ours != truth) & (theirs == truth)).sum())
        assert row["all"] == len(truth)
        assert len([tile for tile in row["tiles"] if tile["won"]]) == min(row["won"], 4)


def test_divergence_in_the_end_is_the_literal_mean_over_pairs(read: tuple[Run, Run, Federation]) -> None:
    for one in read[:2]:
        answers = [answers_kept(one, site) for site in SITES]
        total, pairs = 0.0, 0
        for a in answers:
            for b in answers:
                if a is not None and b is not None and a is not b:
                    p, q = a.public.astype(float), b.public.astype(float)
                    safe = np.where(p > 0, p, 1)
                    total += float((p * np.log(safe / np.maximum(q, 1e-7))).sum(axis=1).mean())
                    pairs += 1
        assert divergence_in_the_end(one) == pytest.approx(total / pairs, rel=1e-3)


def test_the_page_tells_the_story_first(tmp_path: Path, runs: tuple[Path, Path]) -> None:
    path = write_report(list(runs), out=tmp_path / "report")
    page, text = Reader(path), path.read_text(encoding="utf-8")
    assert text.index('id="story"') < text.index('id="results"')
    story = " ".join(page.texts["story"].split())
    assert "3 of 20 training labels are wrong (marked)" in story
    assert "site-2: all 20 training labels are right" in story
    assert len(re.findall(r"test cells are recognised through sharing", story)) == 3
    assert {row[0].split()[0] for row in page.rows["story"]} == {*SITES, "teacher"}
    assert "nats apart (mean over pairs), those of sites that trained alone for as many rounds" in text
    assert str(tmp_path) not in text


def test_without_what_the_sites_kept_the_page_is_written_all_the_same(tmp_path: Path, runs: tuple[Path, Path]) -> None:
    """As of a deployment: answers damaged or at the sites, what was shared not there."""
    copies = []
    for one in runs:
        copies.append(tmp_path / one.name)
        shutil.copytree(one, copies[-1])
        shutil.rmtree(copies[-1] / "shared")
        for path in copies[-1].rglob("answers.npz*"):
            path.write_bytes(path.read_bytes()[:-200])
    text = write_report(copies, out=tmp_path / "report").read_text(encoding="utf-8")
    assert "training labels are wrong (marked)" in text
    assert "a teacher is made of it" not in text
    assert "recognised through sharing" not in text
    assert "The mean divergence between sites went from" in text


@pytest.mark.parametrize(
    ("recipe", "changes"), [("fedmd", {"warm_up_epochs": 1}), ("mdhfl", {}), ("mdhfl_plus", {**QUICK, "coupled": True})]
)
def test_the_exchange_of_other_methods(tmp_path: Path, noisy: Path, recipe: str, changes: dict[str, Any]) -> None:
    """Logits are shown as probabilities; a teacher for each site apart is not the one of all."""
    run(tmp_path / "a", noisy, recipe, rounds=1, changes={"warm_up_epochs": 1, **changes})
    found = exchange(read_report_run(tmp_path / "a"), read_report_federation(str(noisy)))
    assert found is not None
    for row in found["rows"]:
        assert all(33 <= voice["percent"] <= 100 for voice in [*row["voices"], row["teacher"]])

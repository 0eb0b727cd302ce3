"""The report says what the run folders say, whatever state they are in."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from fakes.damage import edit_json
from fakes.pages import Reader
from fakes.run_folders import CLASSES, PARAMETERS, SITES, write_federation, write_run
from PIL import Image

from mdhfl.files import StateError
from mdhfl.reports.federations import read_report_federation
from mdhfl.reports.groups import MEAN
from mdhfl.reports.runs import read_report_run
from mdhfl.reports.write import write_report
from mdhfl.server.journal import read_rows
from mdhfl.store.sealed import read_sealed_json, write_sealed_json

TWO = SITES[:2]


@pytest.fixture
def federation(tmp_path: Path) -> Path:
    return write_federation(tmp_path / "fed", sites=TWO)


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return read_rows(folder / "results.jsonl")


def test_values_on_the_page_equal_those_in_the_files(tmp_path: Path, federation: Path) -> None:
    run = write_run(tmp_path / "a", federation=federation, sites=TWO, rounds=2)
    page = Reader(write_report([run], out=tmp_path / "report"))
    summary = json.loads((run / "summary.json").read_text())
    shown = {row[0]: row for row in page.rows["results"] if len(row) == 9}
    for site, values in summary["sites"].items():
        scores = [f"{values[name]:.3f}" for name in ("accuracy", "macro_f1", "balanced_accuracy")]
        assert shown[site][1] == values["architecture"]
        assert shown[site][2:5] == scores
        assert shown[site][6] == f"{values['ece']:.3f}"
    assert shown["mean over sites"][2] == f"{summary['mean']['accuracy']:.3f}"
    recall = {row[0]: row[1:] for row in page.rows["confusion"]}
    for i, name in enumerate(CLASSES):
        assert recall[name] == [f"{summary['sites'][site]['recall'][i]:.3f}" for site in TWO]
    experiment = json.loads((run / "experiment.json").read_text())
    assert str(tmp_path) in experiment["command"]
    assert "mdhfl run mdhfl --federation fed --seed 0 --out a" in page.texts["made"]
    assert "torch 2.9.0" in page.texts["made"]


def test_page_is_self_contained(tmp_path: Path, federation: Path) -> None:
    run = write_run(tmp_path / "a", federation=federation, sites=TWO, rounds=1)
    path = write_report([run], out=tmp_path / "report")
    page = Reader(path)
    assert "script" not in page.tags
    assert all(str(picture["src"]).startswith("data:image/") and picture["alt"] for picture in page.pictures)
    names = json.loads((path.parent / "report.json").read_text())["figures"]
    assert len(page.pictures) == len(names) == len(list((path.parent / "figures").glob("*.png")))
    for name in names:
        with Image.open(path.parent / "figures" / name) as image:
            assert min(image.size) > 100


def summary_of(run: Path) -> dict[str, Any]:
    return dict(read_sealed_json(run / "summary.json"))


def test_csv_and_json_hold_the_same_numbers(tmp_path: Path, federation: Path) -> None:
    run = write_run(tmp_path / "a", federation=federation, sites=TWO, rounds=2, refused={(1, "site-2"): "too slow"})
    out = write_report([run], out=tmp_path / "report").parent
    rows = rows_of(run)
    with (out / "scores.csv").open(newline="") as file:
        flat = list(csv.DictReader(file))
    assert list(flat[0])[:6] == ["run", "federation", "method", "engine", "seed", "rounds"]
    assert list(flat[0])[-6:] == ["site", "architecture", "round", "part", "score", "value"]
    assert {row["set.ce_weight"] for row in flat} == {str(PARAMETERS["mdhfl"]["ce_weight"])}
    found = {(r["site"], int(r["round"]), r["part"], r["score"]): float(r["value"]) for r in flat}
    assert len(found) == len(flat)  # nothing is said twice
    for row in rows:
        where = row["site"], row["round"]
        refused = row["status"] == "refused"
        assert found[(*where, "round", "refused")] == refused
        assert ((*where, "test", "accuracy") in found) is not refused
        if not refused:
            assert found[(*where, "test", "accuracy")] == row["test"]["accuracy"]
            assert found[(*where, "validation", "macro_f1")] == row["validation"]["macro_f1"]
            assert found[(*where, "loss", "train")] == row["losses"]["train"]
            assert found[(*where, "bytes", "up")] == row["bytes"]["up"]
            assert {name: found[(*where, "seconds", name)] for name in row["seconds"]} == row["seconds"]
    with (out / "summary.csv").open(newline="") as file:
        sums = {row["site"]: row for row in csv.DictReader(file)}
    summary = summary_of(run)
    assert int(sums["site-1"]["network_parameters"]) == summary["sites"]["site-1"]["parameters"]
    assert "parameters" not in sums["site-1"]
    assert sums["site-1"]["set.ce_weight"] == str(PARAMETERS["mdhfl"]["ce_weight"])
    assert float(sums["site-1"]["macro_f1"]) == summary["sites"]["site-1"]["macro_f1"]
    assert float(sums[MEAN]["ece"]) == summary["mean"]["ece"]
    data = json.loads((out / "report.json").read_text())
    assert data["runs"][0]["rows"] == rows
    assert data["runs"][0]["summary"] == {**summary, "federation": "fed"}


def test_unfinished_run_is_reported_from_its_rows(tmp_path: Path, federation: Path) -> None:
    run = write_run(tmp_path / "a", federation=federation, sites=TWO, rounds=5, recorded=2)
    page = Reader(write_report([run], out=tmp_path / "report"))
    assert "unfinished: the last recorded round is 2 of 5" in page.texts[""]
    last = {row["site"]: row for row in rows_of(run) if row["round"] == 2}
    shown = {row[0]: row for row in page.rows["results"] if len(row) == 9}
    assert shown["site-1"][2] == f"{last['site-1']['test']['accuracy']:.3f}"
    mean = sum(row["test"]["accuracy"] for row in last.values()) / 2
    assert shown["mean over sites"][2] == f"{mean:.3f}"


def test_old_summary_does_not_hide_newer_rows(tmp_path: Path, federation: Path) -> None:
    run = write_run(tmp_path / "a", federation=federation, sites=TWO, rounds=2)
    summary = read_sealed_json(run / "summary.json")
    write_sealed_json(run / "summary.json", {**summary, "rounds": 1})
    assert not read_report_run(run).finished
    assert read_report_run(run).summary["rounds"] == 2


def test_run_without_any_round(tmp_path: Path, federation: Path) -> None:
    run = write_run(tmp_path / "a", federation=federation, sites=TWO, recorded=0)
    (run / "results.jsonl").unlink()
    page = Reader(write_report([run], out=tmp_path / "report"))
    assert "no round is recorded yet" in page.texts[""]


def test_truncated_last_line_is_left_out_and_mentioned(tmp_path: Path, federation: Path) -> None:
    run = write_run(tmp_path / "a", federation=federation, sites=TWO, rounds=3, recorded=2)
    text = (run / "results.jsonl").read_text()
    (run / "results.jsonl").write_text(text[:-200])
    page = Reader(write_report([run], out=tmp_path / "report"))
    assert "The last line of results.jsonl is cut off" in page.texts[""]
    assert ["2", "site-2", "no line in results.jsonl"] in page.rows["problems"]


def test_damaged_line_in_the_middle_is_an_error(tmp_path: Path, federation: Path) -> None:
    run = write_run(tmp_path / "a", federation=federation, sites=TWO)
    lines = (run / "results.jsonl").read_text().splitlines()
    (run / "results.jsonl").write_text("\n".join([lines[0], lines[1][:30], *lines[2:]]) + "\n")
    with pytest.raises(StateError, match=r"results\.jsonl: line 2: damaged"):
        write_report([run], out=tmp_path / "report")


def test_refused_answers_are_listed_with_their_reasons(tmp_path: Path, federation: Path) -> None:
    why = "no answer before the round's deadline"
    refused = {(number, "site-2"): why for number in range(3)}
    run = write_run(tmp_path / "a", federation=federation, sites=TWO, rounds=2, refused=refused)
    page = Reader(write_report([run], out=tmp_path / "report"))
    assert [row for row in page.rows["problems"] if row[0] == "1"] == [["1", "site-2", why]]
    shown = {row[0]: row for row in page.rows["results"] if len(row) == 9}
    assert shown["site-2"][2] == "\N{EN DASH}"


def test_missing_federation_is_said_and_the_rest_is_shown(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", federation=tmp_path / "gone", sites=TWO)
    page = Reader(write_report([run], out=tmp_path / "report"))
    assert "The federation folder gone is not there (moved?)." in page.texts["data"]
    assert len(page.pictures) > 5


def test_federation_with_a_damaged_card_and_sheet(tmp_path: Path, federation: Path) -> None:
    (federation / "sites" / "site-2" / "card.json").write_text("{")
    (federation / "overview").mkdir()
    (federation / "overview" / "bad.png").write_bytes(b"not a picture")
    Image.new("RGB", (3000, 400), "red").save(federation / "overview" / "site-1.png")
    run = write_run(tmp_path / "a", federation=federation, sites=TWO, rounds=1)
    page = Reader(write_report([run], out=tmp_path / "report"))
    assert "card.json is unreadable" in page.texts["data"]
    assert "bad.png cannot be shown" in page.texts["data"]
    sheet = next(picture for picture in page.pictures if picture["alt"] == "Overview picture site-1")
    assert int(str(sheet["width"])) <= 1400


def test_noise_and_class_counts_come_from_the_cards(tmp_path: Path, federation: Path) -> None:
    run = write_run(tmp_path / "a", federation=federation, sites=TWO, rounds=1)
    page = Reader(write_report([run], out=tmp_path / "report"))
    card = json.loads((federation / "sites" / "site-1" / "card.json").read_text())
    assert ["site-1", "symmetric", "0.200", f"{card['noise']['realised_rate']:.4f}"] in page.rows["data"]
    first = next(row for row in page.rows["data"] if row[0] == CLASSES[0])
    assert first[1] == f"{card['counts']['training'][CLASSES[0]]} / 4 / 8"
    assert any("noise" in name for name in json.loads((tmp_path / "report/report.json").read_text())["figures"])


def test_how_the_raw_data_was_understood_is_shown(tmp_path: Path, federation: Path) -> None:
    edit_json(federation / "federation.json", understood=[{"what": "groups", "found": "30 groups, kept together"}])
    run = write_run(tmp_path / "run", federation=federation)
    page = write_report([run], out=tmp_path / "report").read_text(encoding="utf-8")
    assert "groups: 30 groups, kept together" in page


def test_no_noise_is_said(tmp_path: Path) -> None:
    federation = write_federation(tmp_path / "fed", sites=TWO, noise="none")
    run = write_run(tmp_path / "a", federation=federation, sites=TWO, rounds=1)
    page = Reader(write_report([run], out=tmp_path / "report"))
    assert "No label noise was injected." in page.texts["data"]


def test_classes_that_a_site_lacks_are_marked(tmp_path: Path) -> None:
    lacking = {"site-2": ["monocyte"]}
    federation = write_federation(tmp_path / "fed", sites=TWO, lacking=lacking)
    run = write_run(tmp_path / "a", federation=federation, sites=TWO, rounds=1, absent=["basophil"], lacking=lacking)
    page = Reader(write_report([run], out=tmp_path / "report"))
    recall = {row[0]: row[1:] for row in page.rows["confusion"]}
    assert recall["monocyte"][1].endswith("∅")
    assert not recall["monocyte"][0].endswith("∅")
    assert recall["basophil"] == ["\N{EN DASH}", "\N{EN DASH}"]
    assert "Hatched: no test image of basophil" in page.texts["confusion"]
    counts = next(row for row in page.rows["data"] if row[0] == "monocyte")
    assert counts[2] == "∅ 0 / 4 / 8"


def test_odd_names_are_escaped_everywhere(tmp_path: Path) -> None:
    sites = ("<script>alert(1)</script>", '"><img src=x onerror=alert(1)>$a$', "../../_outside")
    classes = ("<b>bold", "a&b", "{{ 7 * 7 }}")
    federation = tmp_path / "<i>gone"
    run = write_run(tmp_path / "a", federation=federation, sites=sites, classes=classes, rounds=1)
    page = Reader(write_report([run], out=tmp_path / "report"))
    assert "script" not in page.tags
    assert all("onerror" not in picture for picture in page.pictures)
    shown = [row[0] for row in page.rows["results"]]
    assert [site in shown for site in sites] == [True] * 3
    assert "{{ 7 * 7 }}" in page.texts["confusion"]
    assert {path.name for path in tmp_path.iterdir()} == {"a", "report"}


def test_divergence_is_told_in_words_and_numbers(tmp_path: Path, federation: Path) -> None:
    run = write_run(tmp_path / "a", federation=federation, sites=TWO, rounds=3)
    page = Reader(write_report([run], out=tmp_path / "report"))
    rows = {(row["round"], row["site"]): row for row in rows_of(run)}
    first, last = (rows[number, "site-1"]["divergence"]["site-2"] for number in (0, 3))
    assert ["site-1", "site-2", f"{first:.3f}", f"{last:.3f}"] in page.rows["divergence"]
    assert "the sites moved together" in page.texts["divergence"]


def test_local_only_has_no_divergence_and_nothing_to_compare(tmp_path: Path, federation: Path) -> None:
    run = write_run(tmp_path / "a", federation=federation, sites=TWO, method="local", rounds=1)
    page = Reader(write_report([run], out=tmp_path / "report"))
    assert "sites share no knowledge" in page.texts["divergence"]
    assert "Nothing to compare" in page.texts["comparison"]


def test_report_again_replaces_only_its_own_figures(tmp_path: Path, federation: Path) -> None:
    out = tmp_path / "report"
    run = write_run(tmp_path / "a", federation=federation, sites=TWO, rounds=1)
    write_report([run], out=out)
    (out / "figures" / "mine.png").write_bytes(b"kept")
    local = write_run(tmp_path / "b", federation=federation, sites=TWO, method="local", rounds=1)
    write_report([local], out=out)
    names = {path.name for path in (out / "figures").iterdir()}
    assert "mine.png" in names
    assert not any(name.startswith("01-mdhfl") for name in names)


@pytest.mark.parametrize("name", ["nothing-here", "."])
def test_what_is_no_run_folder_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="expected a run folder") as caught:
        write_report([tmp_path / name], out=tmp_path / "report")
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="at least one run folder"):
        write_report([], out=tmp_path / "report")


def test_federation_reader_never_fails(tmp_path: Path) -> None:
    (tmp_path / "sites" / "site-1").mkdir(parents=True)
    found = read_report_federation(str(tmp_path))
    assert found.card == {}
    assert len(found.notes) == 3

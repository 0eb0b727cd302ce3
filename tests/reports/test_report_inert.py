"""A report of texts that others chose shows them and obeys none; it names no place of this machine."""

import csv
import json
from pathlib import Path

import pytest
from fakes.damage import edit_json, edit_sealed
from fakes.hostile import FRAGMENTS, WORST, files_naming, formulas_in, hidden_in, texts
from fakes.pages import Reader
from fakes.run_folders import SITES, write_federation, write_run
from hypothesis import HealthCheck, example, given, settings
from PIL import Image

from mdhfl.reports.runs import told_apart
from mdhfl.reports.write import write_report

PLAIN = Path(__file__).parents[2] / "custom" / "mdhfl" / "reports" / "templates" / "report.html.j2"


def hostile_report(folder: Path, text: str) -> Path:
    """Write the report of a run in which every text that somebody else chooses holds this one."""
    sites, classes = (f"{text} a", f"b {text}"), (text + "1", f"c {text}", f"2{text}")
    federation = write_federation(folder / "fed", sites=SITES[:2], classes=classes)
    source = dict.fromkeys(("name", "title", "licence", "citation", "url"), text)
    edit_json(
        federation / "federation.json",
        name=text,
        sources=[source],
        arguments={"seed": 0, "raw": text, text: text},
        understood=[{"what": text, "found": text}],
    )
    edit_json(federation / "public" / "card.json", source=[text])
    run = write_run(folder / "run", federation=federation, sites=sites, classes=classes, rounds=1,
                    refused={(0, sites[1]): text, (1, sites[1]): f"{folder}/x.png: {text}"},
                    absent=classes[:1], lacking={sites[0]: classes[1:]})  # fmt: skip
    edit_sealed(run / "experiment.json", command=f"mdhfl {text} {folder}/x", started=text, versions={text: text},
         engine=text, parameters={text: text})  # fmt: skip
    return write_report([run], out=folder / "report")


def check_inert(page: Path, *, folder: Path) -> None:
    html = page.read_text(encoding="utf-8")
    assert not hidden_in(html)
    tags = Reader(page)
    assert not set(tags.tags) & {"script", "svg", "iframe", "object", "form", "base"}
    assert all(str(picture["src"]).startswith("data:image/") for picture in tags.pictures)
    assert not any(name.startswith("on") for picture in tags.pictures for name in picture)
    assert html.count("<a href=") == html.count('<a href="#')
    for name in ("scores.csv", "summary.csv"):
        with (page.parent / name).open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))
        assert not formulas_in(rows), name
        assert not any(hidden_in(cell, allowed="") for row in rows for cell in row)
    report = (page.parent / "report.json").read_text(encoding="utf-8")
    assert not hidden_in(json.dumps(json.loads(report), ensure_ascii=False))
    assert files_naming(page.parent, folder, Path.home() / "x", Path("/tmp")) == []
    assert all(path.suffix == ".png" for path in (page.parent / "figures").iterdir())


@pytest.mark.slow
@given(texts())
@example(WORST)
@settings(deadline=None, max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_report_of_anything_is_inert(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    folder = tmp_path_factory.mktemp("any")
    check_inert(hostile_report(folder, text), folder=folder)


def test_what_was_said_is_shown_in_full(tmp_path: Path) -> None:
    federation = write_federation(tmp_path / "fed", sites=SITES[:2])
    refused = {(0, "site-2"): "no [/x]\x1b[2J <b>\udcff"}
    run = write_run(tmp_path / "a", federation=federation, sites=SITES[:2], rounds=0, refused=refused)
    page = Reader(write_report([run], out=tmp_path / "report"))
    assert ["0", "site-2", "no [/x]\\x1b[2J <b>\\udcff"] in page.rows["problems"]


def test_a_report_names_no_place(tmp_path: Path) -> None:
    federation = write_federation(tmp_path / "fed", sites=SITES[:2])
    (federation / "sites" / "site-2" / "card.json").write_text("{")
    (federation / "overview").mkdir()
    (federation / "overview" / "a.png").write_bytes(b"no picture")
    Image.new("RGB", (9, 9)).save(federation / "overview" / "b.png")
    edit_json(federation / "federation.json", arguments={"seed": 0, "raw": str(tmp_path / "AML.zip")})
    refused = {(1, "site-2"): f"{federation}/sites/site-2/images/x.png: cannot be decoded: '{tmp_path}/y z.png'"}
    runs = [
        write_run(tmp_path / name / "run", federation=federation, sites=SITES[:2], rounds=1, refused=refused)
        for name in ("one", "two")
    ]
    page = write_report(runs, out=tmp_path / "report")
    assert files_naming(page.parent, tmp_path, Path.home() / "x", Path("/tmp")) == []
    shown = Reader(page)
    assert ["1", "site-2", "sites/site-2/images/x.png: cannot be decoded: 'y z.png'"] in shown.rows["problems"]
    assert "sites/site-2/card.json is unreadable" in shown.texts["data"]
    assert "raw=AML.zip" in shown.texts["data"]
    with (page.parent / "scores.csv").open(newline="") as file:
        assert {(row["run"], row["federation"]) for row in csv.DictReader(file)} == {
            ("one/run", "fed"),
            ("two/run", "fed"),
        }


def test_folders_are_told_apart_by_as_little_as_needed() -> None:
    one, two, three = Path("/srv/a/run"), Path("/srv/b/run"), Path("/run")
    assert told_apart([one]) == {one: "run"}
    assert told_apart([one, two]) == {one: "a/run", two: "b/run"}
    assert told_apart([one, three]) == {one: "a/run", three: "run"}


def test_the_page_forbids_what_it_does_not_need() -> None:
    policy = PLAIN.read_text(encoding="utf-8")
    for rule in ("default-src 'none'", "base-uri 'none'", "form-action 'none'", "img-src data:"):
        assert rule in policy
    assert "| safe" not in policy


def test_the_worst_text_is_as_bad_as_all() -> None:
    assert all(fragment in WORST for fragment in FRAGMENTS)

"""The report shows a run's audit where there is one: lights, numbers, what they mean; in a real browser, too."""

import json
from pathlib import Path

import pytest
from fakes.audits import audit_of
from fakes.hostile import WORST, hidden_in
from fakes.run_folders import SITES, write_federation, write_run
from test_report_browser import visit

from mdhfl.audit.record import write_audit
from mdhfl.reports.audit_view import audit_view
from mdhfl.reports.runs import read_report_run
from mdhfl.reports.write import write_report


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audited")
    run = write_run(folder / "a", federation=write_federation(folder / "fed"))
    write_audit(audit_of(run, sites=SITES))
    return write_report([run], out=folder / "out")


def test_lights_numbers_and_thresholds_stand_on_the_page(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    section = text.split('<section id="audit">')[1].split("</section>")[0]
    assert '<a href="#audit">' in text
    for light in ("green", "amber", "red"):
        assert f'<span class="light {light}">{light}</span>' in section
    assert '<span class="light grey">not measured</span>' in section
    for said in (
        "error 0.39 (mean answer); a uniform guess 0.40",
        "AUC 0.51 (95 %: 0.46 to 0.56)",
        "+3.0 dB (weighted mean: PSNR 18.0 dB",
        "test images by class",
        "messages of 2 of 9 rounds",
        "too few images",
        "What the lights mean",
    ):
        assert said in section, said
    assert all(f"</i>{site}</h4>" in section for site in SITES)


def test_a_run_without_an_audit_has_no_such_section(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", federation=write_federation(tmp_path / "fed"))
    assert audit_view(read_report_run(run)) is None
    assert "audit" not in write_report([run], out=tmp_path / "out").read_text(encoding="utf-8").split("<main>")[1]


def test_a_file_that_is_no_audit_is_named_and_the_report_is_written(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", federation=write_federation(tmp_path / "fed"))
    (run / "audit.json").write_text(json.dumps({"version": 1, "sites": "none"}))
    text = write_report([run], out=tmp_path / "out").read_text(encoding="utf-8")
    assert "audit.json cannot be read" in text
    assert str(tmp_path) not in text


def test_names_in_an_audit_are_inert(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", federation=write_federation(tmp_path / "fed"))
    write_audit(
        audit_of(run, sites=(WORST.encode("utf-8", "replace").decode(), "site-2"), note=f"{WORST[:60]} {tmp_path}")
    )
    text = write_report([run], out=tmp_path / "out").read_text(encoding="utf-8")
    assert "<script>alert" not in text
    assert hidden_in(text) == set()
    assert str(tmp_path) not in text


@pytest.mark.slow
@pytest.mark.parametrize("width", [1200, 360])
def test_the_section_fits_a_browser(browser: str, page: Path, tmp_path: Path, width: int) -> None:
    seen = visit(browser, page, folder=tmp_path, width=width)
    assert seen.console == seen.requests == []
    assert seen.found["dangling"] == 0
    assert seen.found["overflow"] <= 0
    (heading,) = (each for each in seen.found["headings"] if each["title"] == "What each site gave away")
    assert min(heading["width"], heading["height"]) > 10

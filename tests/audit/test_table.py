"""The audit's table fits 80 columns and shows names inertly; audit.json follows its schema."""

import io
from pathlib import Path

import jsonschema
import pytest
from fakes.audits import audit_of
from fakes.hostile import WORST, hidden_in

from mdhfl.audit.record import plain_audit, write_audit
from mdhfl.audit.table import audit_tables, print_audit
from mdhfl.files import read_json, shipped_folder
from mdhfl.showing.console import InertConsole

SITES = ("site-1", "site-2", "site-3", "site-4")


def lines_of(folder: Path, sites: tuple[str, ...], note: str = "a note") -> list[str]:
    console = InertConsole(width=80, file=io.StringIO(), markup=False, emoji=False, highlight=False)
    console.print(audit_tables(audit_of(folder, sites=sites, note=note)))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_it_fits_80_columns_and_marks_amber_and_red(tmp_path: Path) -> None:
    lines = lines_of(tmp_path, SITES)
    assert max(map(len, lines)) <= 80
    text = " ".join(" ".join(lines).split())
    assert text.startswith("mdhfl_plus: what each site gave away")
    assert all(site in text for site in SITES)
    assert "0.39 (0.40)" in text
    assert "by class !!" in text
    assert "600, 600" in text
    assert "too few" in text  # for one false positive in a thousand
    assert "docs/privacy.md" in text


def test_long_names_and_hostile_ones_are_shown(tmp_path: Path) -> None:
    lines = lines_of(tmp_path, ("a-hospital-with-a-long-name-" * 4, WORST), note=WORST)
    assert max(map(len, lines)) <= 80
    assert hidden_in("\n".join(lines)) == set()


def test_it_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    print_audit(audit_of(tmp_path, sites=SITES))
    assert "site-3" in capsys.readouterr().out


def test_the_file_follows_its_schema_and_says_what_the_lights_mean(tmp_path: Path) -> None:
    found = audit_of(tmp_path, sites=SITES)
    path = write_audit(found)
    assert path == tmp_path / "audit.json"
    values = read_json(path)
    assert values == plain_audit(found)
    jsonschema.validate(values, read_json(shipped_folder("meta") / "schemas" / "audit.schema.json"))
    assert [site["lights"]["messages"] for site in values["sites"]] == ["green", "amber", "red", "grey"]
    assert [title for title, _ in values["explained"]] == [
        "Label distribution",
        "Membership",
        "Reconstruction",
        "Counts",
    ]

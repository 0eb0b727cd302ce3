"""What `prepare` prints fits 80 columns, and no two names look alike in it."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from fakes.raw_images import class_folders, write_zip

from mdhfl.commands.prepare import prepare_command

LONG = "neutrophil_granulocyte_of_the_peripheral_blood"


@pytest.mark.parametrize("sites", [2, 12])
def test_tables_fit_and_tell_names_apart(tmp_path: Path, sites: int) -> None:
    names = {f"{LONG}_{end}": 60 for end in ("banded", "segmented")}
    raw = write_zip(tmp_path / "raw.zip", class_folders(names))
    arguments = ["folder", "--raw", str(raw), "--out", str(tmp_path / "fed"), "--sites", str(sites), "--minimum", "2"]
    arguments += ["--noise", "symmetric", "--noise-rate", "0.2", "--image-size", "8", "--public-count", "4"]
    shown = CliRunner().invoke(
        prepare_command, [*arguments, "--workers", "1"], catch_exceptions=False, env={"COLUMNS": "80"}
    )
    table = [line for line in shown.output.splitlines() if line.startswith("│")]
    assert table
    assert max(len(line) for line in shown.output.splitlines() if "fed" not in line) <= 80
    text = "".join(line.split("│")[1].strip() for line in table)
    assert all(name in text for name in names)
    assert all(f"site-{number}" in shown.output for number in range(1, sites + 1))
    assert "…" not in shown.output

"""A look before anything is made: what was understood, one contact sheet, and nothing else."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from fakes.prepared import load, make
from fakes.raw_images import class_folders, encoded, png, soft_picture, write_zip
from PIL import Image

from mdhfl.commands.prepare import prepare_command
from mdhfl.preprocessing.arguments import PrepareArguments
from mdhfl.preprocessing.look import A_CLASS, look
from mdhfl.preprocessing.raw import file_source
from mdhfl.preprocessing.raw.records import Understood
from mdhfl.preprocessing.raw.understood import Finding


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Pictures of four kinds, in groups, some with fixed parts, some unreadable."""
    rows, files = ["file,class,group,split"], {}
    for number in range(60):
        group, part = f"p{number // 3}" if number < 30 else "", "test" if number >= 50 else ""
        rows.append(f"{number}.png,{'red' if number % 3 else 'blue'},{group},{part}")
        files[f"{number}.png"] = png(number)
    turned = Image.Exif()
    turned[0x0112] = 6
    soft_picture(0, side=40).save(tmp_path / "turned.jpg", exif=turned)
    files["0.png"] = (tmp_path / "turned.jpg").read_bytes()
    files["1.png"] = encoded(soft_picture(1).convert("L"))
    files["2.png"] = b"no picture"
    files["notes.txt"] = b"words"
    rows.append("60.png,red,,")
    return write_zip(tmp_path / "raw.zip", {**files, "manifest.csv": "\n".join(rows).encode()})


def found(lines: list[Finding], what: str) -> str:
    return "; ".join(line.found for line in lines if line.what == what)


def test_what_was_understood(tmp_path: Path, raw: Path) -> None:
    arguments = PrepareArguments("manifest", raw=raw, out=tmp_path / "fed")
    lines = look(arguments, workers=1).lines
    assert found(lines, "source") == "raw: 60 pictures"
    assert found(lines, "class red") == "40 pictures"
    assert found(lines, "class blue") == "20 pictures"
    assert found(lines, "groups") == "10 groups of 3 to 3 pictures, kept together; 30 pictures stand alone"
    assert found(lines, "parts") == "fixed by the raw data: test (10); 50 not"
    assert "60.png" in found(lines, "left out")


def test_traits_are_counted_over_the_pictures_that_were_read(tmp_path: Path, raw: Path) -> None:
    federation = make(raw, tmp_path / "fed", source="manifest", public_count=4).federation
    lines = [Finding(**line) for line in federation["understood"]]
    assert found(lines, "file") == "PNG RGB (57), JPEG RGB (1), PNG L (1) (of the pictures read)"
    assert found(lines, "pixels") == "24 x 20 (57), 40 x 40 (1), 48 x 48 (1) (of the pictures read)"
    assert found(lines, "orientation tag") == "6 (1) (of the pictures read)"
    assert found(lines, "left out").count("1 not a recognised image format") == 1
    assert ".png" not in found(lines, "left out")  # a file's name may be a patient's


def test_one_sheet_is_written_and_nothing_else(tmp_path: Path) -> None:
    home = tmp_path / "here"
    home.mkdir()
    raw = write_zip(tmp_path / "raw.zip", class_folders({"a": 40, "b": 5}))
    seen = look(PrepareArguments("folder", raw=raw, out=home / "fed"), workers=1)
    assert [path.name for path in home.rglob("*")] == ["fed-look.png"]
    with Image.open(seen.sheet) as sheet:
        pixels = np.asarray(sheet.convert("RGB"))
    assert pixels.shape[1] > A_CLASS * 64
    again = seen.sheet.read_bytes()
    look(PrepareArguments("folder", raw=raw, out=home / "fed"), workers=2)
    assert seen.sheet.read_bytes() == again


def test_a_look_reads_a_few_pictures_and_leaves_a_federation_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = write_zip(tmp_path / "raw.zip", class_folders({"a": 90, "b": 90}))
    made = make(raw, tmp_path / "fed", public_count=4)
    before = {path: path.stat().st_mtime_ns for path in made.folder.rglob("*")}
    lines = look(PrepareArguments("folder", raw=raw, out=tmp_path / "fed", seed=9), workers=1).lines
    assert found(lines, "pixels") == f"24 x 20 ({2 * A_CLASS}) (of the pictures read)"
    assert {path: path.stat().st_mtime_ns for path in made.folder.rglob("*")} == before


def test_what_a_source_says_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def understood(self: object) -> Understood:
        return Understood(levels="class/group", notes=("the first holds the class",))

    monkeypatch.setattr(file_source.OpenFileSource, "understood", understood, raising=False)
    raw = write_zip(tmp_path / "raw.zip", class_folders({"a": 20, "b": 20}))
    lines = look(PrepareArguments("folder", raw=raw, out=tmp_path / "fed"), workers=1).lines
    assert {Finding("levels", "class/group"), Finding("read as", "the first holds the class")} <= set(lines)
    federation = make(raw, tmp_path / "fed", public_count=4).federation
    assert {"what": "levels", "found": "class/group"} in federation["understood"]
    assert "raw: the first holds the class" in federation["notes"]


def test_the_command_looks(tmp_path: Path, raw: Path) -> None:
    arguments = ["manifest", "--raw", str(raw), "--out", str(tmp_path / "fed"), "--dry-run", "--workers", "1"]
    done = CliRunner().invoke(prepare_command, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    assert "class red: 40 pictures" in done.output
    assert "fed-look.png" in done.output
    assert not (tmp_path / "fed").exists()


def test_licence_and_citation_of_own_data_stand_in_its_cards(tmp_path: Path) -> None:
    raw = write_zip(tmp_path / "raw.zip", class_folders({"a": 30, "b": 30}))
    shown = write_zip(tmp_path / "shown.zip", class_folders({"x": 9}, start=900))
    told = {"licence": "by agreement [1]", "citation": "Our Hospital, 2026"}
    fed = tmp_path / "fed"
    federation = make(raw, fed, public="folder", public_raw=shown, public_count=None, **told).federation
    card = load(fed, "sites/site-1/card.json")
    assert (card["licence"], card["citation"]) == ("by agreement [1]", "Our Hospital, 2026")
    assert federation["sources"][0]["licence"] == "by agreement [1]"
    assert load(fed, "public/card.json")["licence"] == "not stated"  # it may be others'
    make(raw, tmp_path / "holdout", **told)
    assert load(tmp_path / "holdout", "public/card.json")["citation"] == "Our Hospital, 2026"
    assert load(tmp_path / "holdout", "sites/site-2/card.json")["licence"] == "by agreement [1]"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"source": "acevedo20", "licence": "mine"}, r"acevedo20 has its own \(CC BY 4.0\): leave --licence"),
        ({"source": "folder", "licence": " "}, "licence=' ': expected some words"),
        ({"source": "folder", "near": 17}, "near=17: expected a value from 0 to 16"),
    ],
)
def test_provenance_that_cannot_be_meant_is_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PrepareArguments(**{"out": Path("fed"), "raw": Path("x"), **arguments})  # type: ignore[arg-type]


@pytest.mark.parametrize(("per_site", "count"), [(None, 60), (20, 20), (80, 60)])
def test_a_held_out_public_set_is_as_large_as_a_site(tmp_path: Path, per_site: int | None, count: int) -> None:
    raw = write_zip(tmp_path / "raw.zip", class_folders({"a": 150, "b": 150}))
    federation = make(raw, tmp_path / "fed", per_site=per_site, public_count=None, image_size=8).federation
    assert federation["public"]["count"] == count

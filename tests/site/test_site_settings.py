"""site.json: every mistake in one line."""

import json
from pathlib import Path

import pytest

from mdhfl.site.settings import read_site_settings

GOOD = {
    "version": 1, "site": "site-1", "bundle": "resnet10", "data": "data", "public": "/srv/public", "state": "../state",
    "device": "cpu", "threads": 2,
}  # fmt: skip


def write(folder: Path, **changes: object) -> Path:
    values = {k: v for k, v in {**GOOD, **changes}.items() if v is not None}
    path = folder / "site.json"
    path.write_text(json.dumps(values))
    return path


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    settings = read_site_settings(write(tmp_path))
    assert settings.data == tmp_path / "data"
    assert settings.public == Path("/srv/public")
    assert settings.state == tmp_path.parent / "state"
    assert settings.bundle == "resnet10"


def test_an_own_bundle_is_named_by_its_path(tmp_path: Path) -> None:
    assert read_site_settings(write(tmp_path, bundle="./nets/own")).bundle == str(tmp_path / "nets" / "own")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"threads": 0}, "threads: 0 is less than the minimum of 1"),
        ({"device": "gpu"}, "device: 'gpu' does not match"),
        ({"bundle": None}, "'bundle' is a required property"),
        ({"colour": "red"}, "'colour' was unexpected"),
        ({"site": "../up"}, "site: "),
    ],
)
def test_a_mistake_names_the_file_and_the_field(tmp_path: Path, changes: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said) as error:
        read_site_settings(write(tmp_path, **changes))
    assert "site.json" in str(error.value)


def test_no_file_and_no_json_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no site settings"):
        read_site_settings(tmp_path / "site.json")
    (tmp_path / "site.json").write_text("{")
    with pytest.raises(ValueError, match="not valid JSON"):
        read_site_settings(tmp_path / "site.json")

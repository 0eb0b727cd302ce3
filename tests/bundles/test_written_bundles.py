"""The built-in bundles are what the template and the network definitions give, to the byte."""

from pathlib import Path

import pytest

from mdhfl.files import shipped_folder
from mdhfl.learning.bundle import built_in_bundles
from tools.write_bundles import SOURCE, read_network, write_bundles

STALE = "run `make bundles`, and delete what it no longer writes"


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_the_bundles_are_what_make_bundles_gives(tmp_path: Path) -> None:
    write_bundles(tmp_path)
    expected, found = contents(tmp_path), contents(shipped_folder("bundles"))
    assert sorted(found) == sorted(expected), STALE
    different = [name for name in expected if found[name] != expected[name]]
    assert not different, f"{different} are not what the template gives: {STALE}"


def test_a_bundle_has_a_network_definition_and_the_other_way_round() -> None:
    assert built_in_bundles() == sorted(path.stem for path in (SOURCE / "networks").iterdir())


@pytest.mark.parametrize("line", ["network_deff: x", ""])
def test_a_definition_with_wrong_keys_is_refused(tmp_path: Path, line: str) -> None:
    path = tmp_path / "vit.yaml"
    path.write_text(f"architecture: ViT\nsummary: x\nreference: y\npackages: {{}}\n{line}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"vit\.yaml: expected the keys .*network_def.*, got \["):
        read_network(path)

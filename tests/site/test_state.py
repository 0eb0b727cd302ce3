"""Written beside and renamed; read without pickle."""

import pickle
from pathlib import Path

import pytest
import torch
from conftest import SmallFiles

from mdhfl.files import StateError, write_atomically
from mdhfl.learning.tensors import load_tensors, save_tensors
from mdhfl.site.state import load_progress


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, small_files_only: SmallFiles) -> None:
    path = tmp_path / "weights.pt"
    save_tensors(path, {"w": torch.zeros(3)})
    with small_files_only(10_000), pytest.raises(StateError, match="cannot be written"):
        save_tensors(path, {"w": torch.zeros(100_000)})
    assert load_tensors(path)["w"].shape == (3,)
    assert [p.name for p in tmp_path.iterdir()] == ["weights.pt"]


def test_a_write_that_breaks_off_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "results"
    path.write_bytes(b"old")

    def write(file):  # type: ignore[no-untyped-def]
        file.write(b"new, but only ha")
        raise OSError(28, "No space left on device")

    with pytest.raises(StateError, match=r"No space left on device.*kept"):
        write_atomically(path, write)
    assert path.read_bytes() == b"old"


class Malicious:
    def __reduce__(self) -> tuple:
        return (print, ("this must not run",))


def test_a_state_file_with_code_in_it_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "state.pt"
    torch.save({"model": Malicious()}, path)
    with pytest.raises(StateError, match="cannot be read"):
        load_progress(path)
    path.write_bytes(pickle.dumps(Malicious()))
    with pytest.raises(StateError, match="cannot be read"):
        load_progress(path)
    assert "must not run" not in capsys.readouterr().out


def test_no_file_is_no_progress(tmp_path: Path) -> None:
    assert load_progress(tmp_path / "state.pt") is None

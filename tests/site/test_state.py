"""Written beside and renamed; read without pickle."""

import pickle
from pathlib import Path

import pytest
import torch
from conftest import SmallFiles

from mdhfl.files import StateError, write_atomically
from mdhfl.site.folder import SiteFolder
from mdhfl.store.sealed import write_sealed
from mdhfl.store.tensors import load_tensors, save_tensors


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
    folder = SiteFolder(tmp_path, site="site-1")
    assert folder.progress() is None
    assert "without a seal" in folder.fault
    write_sealed(path, lambda file: torch.save({"model": Malicious()}, file))
    assert folder.progress() is None
    assert "cannot be read (UnpicklingError)" in folder.fault
    write_sealed(path, lambda file: file.write(pickle.dumps(Malicious())))
    assert folder.progress() is None
    assert "cannot be read (UnpicklingError)" in folder.fault
    assert "must not run" not in capsys.readouterr().out


def test_no_file_is_no_progress(tmp_path: Path) -> None:
    folder = SiteFolder(tmp_path, site="site-1")
    assert folder.progress() is None
    assert not folder.fault

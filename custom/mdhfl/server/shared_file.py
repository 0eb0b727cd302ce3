"""What the sites shared in a round, on the server's disk: plain values and arrays, without pickle."""

import zipfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import IO

import numpy as np

from mdhfl.sharing.packing import pack, unpack
from mdhfl.sharing.records import Shared, tagged, untagged
from mdhfl.store.sealed import Damaged, read_sealed, write_sealed


def save_shared(path: Path, shared: Mapping[str, Shared]) -> None:
    """Write what was shared, by site. Raises StateError."""
    text, arrays = pack({site: tagged(said) for site, said in shared.items()})

    def write(file: IO[bytes]) -> None:
        named = {f"array_{i}": array for i, array in enumerate(arrays)}
        np.savez(file, text=np.frombuffer(text.encode(), dtype=np.uint8), **named)  # type: ignore[arg-type]

    write_sealed(path, write)


def shared_path(folder: Path, number: int) -> Path:
    """Return where in a folder of results lies what was shared in a round."""
    return folder / "shared" / f"round-{number:04d}.npz"


def load_shared(path: Path, *, number: int) -> dict[str, Shared]:
    """Read what was shared in a round, by site. Raises Damaged."""

    def read(path: Path, payload: bytes) -> dict[str, Shared]:
        try:
            with np.load(BytesIO(payload), allow_pickle=False) as file:
                arrays = [file[f"array_{i}"] for i in range(len(file.files) - 1)]
                wires = unpack(file["text"].tobytes().decode(), arrays)
            records = {
                site: untagged(wire, kinds=Shared.kinds, site=site, round=number) for site, wire in wires.items()
            }
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise Damaged(f"{path}: expected what was shared in round {number}, got {error}") from error
        return {site: record for site, record in records.items() if record is not None}

    return read_sealed(path, read)

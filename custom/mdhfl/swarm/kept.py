"""A merge that a site has made or received, on its disk until the next one: an interruption loses none."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mdhfl.sharing.packing import pack, unpack
from mdhfl.sharing.reasons import Refusal
from mdhfl.sharing.turns import MergeTurn
from mdhfl.sharing.weights import Merged
from mdhfl.store.sealed import Damaged, read_generation, write_sealed
from mdhfl.swarm.ledger import Entry, Ledger


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A merge that was made or received, and checked.

    Attributes:
        turn: whose it is.
        ledger: with the merge as its last entry.
        merged: what the site's model becomes; None if it was alone in its layout.
    """

    turn: MergeTurn
    ledger: Ledger
    merged: Merged | None


def save_kept(path: Path, kept: Kept) -> None:
    """Write a merge, sealed. Raises StateError."""
    entries = [entry.to_json() for entry in kept.ledger.entries]
    merged = None if kept.merged is None else kept.merged.to_wire()
    text, arrays = pack({"entries": entries, "merged": merged})
    write_sealed(path, lambda file: np.savez(file, np.frombuffer(text.encode(), dtype=np.uint8), *arrays))


def load_kept(path: Path, *, experiment: str) -> Kept | None:
    """Read a merge, None if there is none. The one before it is no help: it is of another round.

    Raises:
        Refusal: the file is damaged; naming it.
    """
    if not path.exists():
        return None
    try:
        return read_generation(path, lambda _, payload: _kept_of(payload, experiment=experiment))
    except Damaged as error:
        raise Refusal(
            "state",
            f"{error}. Delete it: if the other sites have learned from this merge, this site goes on with its own "
            "model, says so, and is merged again in the next round",
        ) from error


def _kept_of(payload: bytes, *, experiment: str) -> Kept:
    with np.load(io.BytesIO(payload), allow_pickle=False) as file:
        text, *arrays = (file[f"arr_{i}"] for i in range(len(file.files)))
    values = unpack(text.tobytes().decode(), arrays)
    entries = [Entry.from_json(entry) for entry in values["entries"]]
    turn = entries[-1].turn
    return Kept(
        turn=turn,
        ledger=Ledger(experiment).extend(entries, newest=turn.round),
        merged=None if values["merged"] is None else Merged.from_wire(values["merged"]),
    )

"""What passes between the sites of a swarm: shares, merged results, and their digests."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mdhfl.sharing.checks import MOST_NAMES, MessageError, count, record
from mdhfl.sharing.signatures import HASH_DIGITS, hexadecimal
from mdhfl.sharing.turns import MergeTurn
from mdhfl.sharing.weights import Merged, Weights, mean_of

if TYPE_CHECKING:
    from mdhfl.swarm.ckks import Ciphertext, PublicContext

MOST_NUMBERS = 2**31  # in a vector


@dataclass(frozen=True, kw_only=True)
class Share:
    """What a member sends its leader: its weights, or their ciphertext; neither if it is alone in its layout."""

    weights: Weights | None = None
    cipher: "Ciphertext | None" = None

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to merge."""
        return self.weights is None and self.cipher is None

    @property
    def digest(self) -> str:
        """64 hexadecimal digits, as the ledger names it; empty for an empty share."""
        if self.cipher is not None:
            return self.cipher.digest
        return "" if self.weights is None else digest_of(self.weights.values)

    def to_plain(self) -> Any:
        """Return what travels: the vector, or the ciphertext's fields."""
        return to_plain(self.cipher or self.weights)


def merge_shares(
    turn: MergeTurn, shares: Mapping[str, Share], *, public: "PublicContext | None"
) -> "dict[str, Merged | Ciphertext]":
    """Merge within each layout.

    Args:
        turn: whose members they are.
        shares: site -> what it sent.
        public: the context of encrypted shares, None for plain ones.

    Returns:
        Layout -> the mean, or the sum's ciphertext.
    """
    results: dict[str, Merged | Ciphertext] = {}
    for layout in sorted({turn.commitments[site].layout for site in shares}):
        group = {site: shares[site] for site in turn.group(layout) if site in shares and not shares[site].is_empty}
        if group and public is None:
            results[layout] = mean_of({site: share.weights for site, share in group.items() if share.weights})
        elif group and public is not None:
            results[layout] = public.add({site: share.cipher for site, share in group.items() if share.cipher})
    return results


def digest_of(result: Any) -> str:
    """Return the digest of a vector, a merged model or a ciphertext: 64 hexadecimal digits."""
    if not isinstance(result, Merged | np.ndarray):
        return str(result.digest)
    values = result.values if isinstance(result, Merged) else result
    return hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()


def to_plain(result: Any) -> Any:
    """Return what travels of a result: the vector, or the ciphertext's fields."""
    return result.values if isinstance(result, Merged | Weights) else asdict(result)


def ciphertext_from(values: Any) -> "Ciphertext":
    """Rebuild a ciphertext. Raises MessageError if it is not one."""
    from mdhfl.swarm.ckks import Ciphertext

    values = record(values, what="ciphertext", fields=Ciphertext.__dataclass_fields__)
    if not isinstance(values["data"], bytes):
        raise MessageError(f"ciphertext: expected bytes, got {type(values['data']).__name__}")
    return Ciphertext(
        data=values["data"],
        length=count(values["length"], what="ciphertext's length", low=1, high=MOST_NUMBERS),
        addends=count(values["addends"], what="ciphertext's addends", low=0, high=MOST_NAMES),
        context=hexadecimal(values["context"], what="ciphertext's context", digits=HASH_DIGITS),
        digest=hexadecimal(values["digest"], what="ciphertext's digest", digits=HASH_DIGITS),
    )

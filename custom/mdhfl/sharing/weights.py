"""A model as one vector, the check that it must pass, and the mean of several. Numpy only: the server needs no torch.

For the methods that share weights, which is what this project exists to avoid: a site shares none unless its own
settings allow it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mdhfl.sharing.checks import MessageError, array, count, record, text
from mdhfl.sharing.records import Lesson, Shared


@dataclass(frozen=True, kw_only=True)
class Weights(Shared, kind="weights"):
    """One site's model.

    Attributes:
        values: (M,) float32: the floating-point entries of the state_dict (parameters and running statistics), in its
            order.
        layout: 64 hexadecimal digits that identify the entries' names and shapes. Only equal layouts can be averaged.
        bundle: name of the bundle that builds the network.
        images: number of training images, at least 1: the model's weight in a mean.
    """

    values: NDArray[np.float32]
    layout: str
    bundle: str
    images: int

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any], **known: Any) -> "Weights":
        """Rebuild a site's model. Raises MessageError."""
        values = record(wire, what="weights", fields=cls.sent())
        return cls(
            values=array(values["values"], what="weights", dtypes=(np.float32,), shape=(None,)),
            layout=text(values["layout"], what="weights' layout"),
            bundle=text(values["bundle"], what="weights' bundle"),
            images=count(values["images"], what="weights' number of training images", low=1),
            **known,
        )


@dataclass(frozen=True, kw_only=True)
class Merged(Lesson, kind="merged"):
    """What replaces the models of all sites of one layout.

    Attributes:
        values: (M,) float32.
        layout: as in Weights.
    """

    values: NDArray[np.float32]
    layout: str

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any], **known: Any) -> "Merged":
        """Rebuild a merged model. Raises MessageError."""
        values = record(wire, what="merged model", fields=cls.sent())
        return cls(
            values=array(values["values"], what="merged model", dtypes=(np.float32,), shape=(None,)),
            layout=text(values["layout"], what="merged model's layout"),
            round=count(values["round"], what="merged model's round"),
        )


def check_weights(weights: Weights, *, number: int) -> None:
    """Refuse weights that must not be averaged.

    Raises:
        MessageError: another round, not one float32 vector, NaN or infinity, no training images.
    """
    who, values = f"weights from site {weights.site!r}", np.asarray(weights.values)
    if weights.round != number:
        raise MessageError(f"{who}: expected round {number}, got round {weights.round}")
    if values.ndim != 1 or values.dtype != np.float32:
        raise MessageError(f"{who}: expected one vector of float32, got {values.dtype} of shape {values.shape}")
    if not np.isfinite(values).all():
        raise MessageError(f"{who}: NaN or infinity in {int((~np.isfinite(values)).sum())} of {values.size} numbers")
    if weights.images < 1:
        raise MessageError(f"{who}: expected at least 1 training image, got {weights.images}")


def check_length(weights: Weights, *, like: Weights) -> None:
    """Refuse weights that cannot be added to others of their layout.

    Raises:
        MessageError: another length.
    """
    if weights.values.size != like.values.size:
        raise MessageError(
            f"weights from site {weights.site!r}: expected {like.values.size} numbers for layout {like.layout[:8]}, "
            f"got {weights.values.size}; is its mdhfl the same version?"
        )


def layouts_of(shared: Mapping[str, Weights]) -> dict[str, list[str]]:
    """Group the sites by layout: layout -> names of its sites, sorted."""
    groups: dict[str, list[str]] = {}
    for site in sorted(shared):
        groups.setdefault(shared[site].layout, []).append(site)
    return groups


def mean_of(shared: Mapping[str, Weights]) -> Merged:
    """Average models of one layout, weighted by their numbers of training images, in the order of the sites' names.

    Args:
        shared: site name -> its checked weights; at least one, all of one layout and round.

    Raises:
        MessageError: vectors of one layout but of different lengths.

    Source: McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized Data", 2017, alg. 1.
    """
    names = sorted(shared)
    first = shared[names[0]]
    total = np.zeros(first.values.size, dtype=np.float64)
    for name in names:
        check_length(shared[name], like=first)
        total += shared[name].images * shared[name].values.astype(np.float64)
    total /= sum(shared[name].images for name in names)
    return Merged(values=total.astype(np.float32), layout=first.layout, round=first.round)


def mean_by_layout(shared: Mapping[str, Weights]) -> dict[str, Merged]:
    """Average within each layout: layout -> mean. A site that is alone in its layout gets its own model back."""
    return {layout: mean_of({s: shared[s] for s in sites}) for layout, sites in layouts_of(shared).items()}

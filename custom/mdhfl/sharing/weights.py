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
from mdhfl.sharing.limits import LARGEST_WEIGHT, LONGEST_VECTOR, MOST_IMAGES
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
            images=count(values["images"], what="weights' number of training images", low=1, high=MOST_IMAGES),
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

    def check(self, *, kind: str, shape: tuple[int, int]) -> None:
        _check_entries(self.values, who="merged model")


def check_weights(weights: Weights, *, number: int) -> None:
    """Refuse weights that must not be averaged.

    Raises:
        MessageError: another round, not one float32 vector, NaN, infinity or beyond LARGEST_WEIGHT, no training images.
    """
    who, values = f"weights from site {weights.site!r}", np.asarray(weights.values)
    if weights.round != number:
        raise MessageError(f"{who}: expected round {number}, got round {weights.round}")
    if values.ndim != 1 or values.dtype != np.float32:
        raise MessageError(f"{who}: expected one vector of float32, got {values.dtype} of shape {values.shape}")
    _check_entries(values, who=who)
    if weights.images < 1:
        raise MessageError(f"{who}: expected at least 1 training image, got {weights.images}")


def _check_entries(values: NDArray[np.float32], *, who: str) -> None:
    if not np.isfinite(values).all():
        raise MessageError(f"{who}: NaN or infinity in {int((~np.isfinite(values)).sum())} of {values.size} numbers")
    largest = float(max(values.max(initial=0), -values.min(initial=0)))
    if largest > LARGEST_WEIGHT:
        raise MessageError(f"{who}: expected weights of at most {LARGEST_WEIGHT:g}, got {largest:.4g}")


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


def misfits(shared: Mapping[str, Weights], *, one_layout: bool) -> dict[str, str]:
    """Say which sites' models cannot be averaged with the others', and why: the majority decides.

    Args:
        shared: site name -> its checked weights, all of one round.
        one_layout: whether all sites must have one layout.

    Returns:
        Site -> reason. Where no majority can tell who is right, all are named.
    """
    fitting, found = set(shared), {}
    layouts = {site: weights.layout for site, weights in shared.items()}
    if one_layout and (odd := _minority(layouts)):
        fitting -= odd
        others = ", ".join(sorted({layout[:8] for layout in layouts.values()}))
        found = {
            site: f"weights from site {site!r}: expected the layout of most sites' networks, got {layouts[site][:8]} "
            f"among {others}; give all sites one bundle (--bundles), or average each architecture by itself "
            "(--set grouped=true)"
            for site in odd
        }
    for layout in {layouts[site] for site in fitting}:
        lengths = {site: str(shared[site].values.size) for site in sorted(fitting) if layouts[site] == layout}
        for site in _minority(lengths):
            others = ", ".join(sorted(set(lengths.values())))
            found[site] = (
                f"weights from site {site!r}: expected as many numbers as most sites of layout {layout[:8]}, got "
                f"{lengths[site]} among {others}; is its mdhfl the same version?"
            )
    return found


def _minority(said: Mapping[str, str]) -> set[str]:
    """Return the sites that do not say what more than half of all say; all of them if there is no such thing."""
    common = [value for value in set(said.values()) if 2 * list(said.values()).count(value) > len(said)]
    return {site for site, value in said.items() if value not in common}


def mean_of(shared: Mapping[str, Weights]) -> Merged:
    """Average models of one layout, weighted by their numbers of training images, in the order of the sites' names.

    A model that is longer (as a vector) than LONGEST_VECTOR times the lower median of all is shortened to that, so that
    no single site can move the mean as far as it likes.

    Args:
        shared: site name -> its checked weights; at least one, all of one layout and round.

    Raises:
        MessageError: vectors of one layout but of different lengths.

    Sources: McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized Data", 2017, alg. 1;
    the bound: Sun et al., "Can You Really Backdoor Federated Learning?", 2019, section 4 (norm thresholding).
    """
    names = sorted(shared)
    lengths = {name: float(np.linalg.norm(shared[name].values)) for name in names}
    longest = LONGEST_VECTOR * sorted(lengths.values())[(len(names) - 1) // 2]
    first = shared[names[0]]
    total = np.zeros(first.values.size, dtype=np.float64)
    for name in names:
        check_length(shared[name], like=first)
        scale = longest / lengths[name] if lengths[name] > longest else 1
        total += shared[name].images * scale * shared[name].values.astype(np.float64)
    total /= sum(shared[name].images for name in names)
    return Merged(values=total.astype(np.float32), layout=first.layout, round=first.round)


def mean_by_layout(shared: Mapping[str, Weights]) -> dict[str, Merged]:
    """Average within each layout: layout -> mean. A site that is alone in its layout gets its own model back."""
    return {layout: mean_of({s: shared[s] for s in sites}) for layout, sites in layouts_of(shared).items()}

"""The images about which an attacker asks "was it trained on?": a site's training images, and its held-out ones."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mdhfl.digests import list_digest
from mdhfl.learning.images import DataError, load_private_set, load_public_set, read_listed
from mdhfl.seeds import stream
from mdhfl.site.settings import SiteSettings

if TYPE_CHECKING:
    from torch import Tensor

    from mdhfl.learning.model import Model


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """A site's images as an attacker has them, members first.

    Attributes:
        images: (M, 3, S, S) uint8.
        labels: (M,) int64, as the site has them; see `load_candidates` about those of non-members.
        members: the first so many are training images.
        public: (N, 3, S, S) uint8, the public images.
        classes: C class names.
        digest: of all of it.
    """

    images: "Tensor"
    labels: "Tensor"
    members: int
    public: "Tensor"
    classes: tuple[str, ...]
    digest: str

    @property
    def training_labels(self) -> NDArray[np.int64]:
        """(members,) labels that the site trained on."""
        labels: NDArray[np.int64] = self.labels[: self.members].numpy()
        return labels


def load_candidates(settings: SiteSettings, *, model: "Model") -> Candidates:
    """Read a site's images and the public ones.

    Held-out labels are clean, training labels may be noisy. An attack that uses labels would see that difference
    instead of membership, so the noise that the site's card says was injected is drawn for the held-out labels, too.

    Args:
        settings: where they lie.
        model: of the bundle that reads them.

    Raises:
        DataError: as `learning.images`.
    """
    import torch

    if settings.public is None:
        raise DataError(f"site {settings.site!r}: its public set comes from a server; name its folder with --public")
    how = model.how_to_read()
    private = load_private_set(settings.data, **how)
    public, digest = load_public_set(settings.public, **how)
    held_out = torch.cat([private.test.labels, private.validation.labels])
    noise = read_listed(settings.data / "card.json").get("noise", {})
    noisy = torch.from_numpy(as_noisy(held_out.numpy(), noise.get("matrix") or [], site=settings.site))
    listed = read_listed(settings.data / "datalist.json")
    own = [f"{item['digest']} {item['label']}" for part in ("training", "test", "validation") for item in listed[part]]
    return Candidates(
        images=torch.cat([private.training.images, private.test.images, private.validation.images]),
        labels=torch.cat([private.training.labels, noisy]),
        members=len(private.training.labels),
        public=public,
        classes=private.classes,
        digest=list_digest([*own, digest]),
    )


def as_noisy(labels: NDArray[np.int64], matrix: Any, *, site: str) -> NDArray[np.int64]:
    """Return clean labels with label noise like that of training labels.

    Args:
        labels: (M,) clean.
        matrix: C x C counts, rows the clean class and columns the training label; empty for no noise.
        site: whose; with it the draw is always the same.
    """
    counts = np.asarray(matrix, dtype=np.float64)
    if not counts.size:
        return labels
    random = stream(0, "audit", "noise", site)
    found = labels.copy()
    for index, label in enumerate(labels):
        row = counts[label]
        if row.sum() > 0:
            found[index] = random.choice(len(row), p=row / row.sum())
    return found

"""How well a run's models know what other sites see: every last model, scored on the test images of all sites.

Possible only where all sites are simulated in one place. A model that is tuned to its own site's mix of classes scores
well on that site's test images and badly here; both are worth knowing.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mdhfl.files import read_json
from mdhfl.learning.cache import ImageCache
from mdhfl.metrics import HEADLINES
from mdhfl.rounds.experiment import Experiment
from mdhfl.runs.folder import checkpoint_path, site_settings_path
from mdhfl.site.settings import SiteSettings, read_site_settings

if TYPE_CHECKING:
    from mdhfl.learning.images import Part
    from mdhfl.learning.model import Model


def score_on_all(folder: Path, *, experiment: Experiment, cache: ImageCache) -> dict[str, dict[str, float]]:
    """Score every site's last model on the clean test images of all sites together.

    Args:
        folder: of a finished run.
        experiment: the folder's.
        cache: decoded images.

    Returns:
        Site -> accuracy, macro_f1, balanced_accuracy and, where a site has no training image of some class,
        unseen_recall: the mean recall of those classes. Each from 0 to 1; sites without a last model are left out.
    """
    from mdhfl.learning.images import image_size_of
    from mdhfl.learning.model import Model
    from mdhfl.store.tensors import load_tensors

    settings = {site: read_site_settings(site_settings_path(folder, site)) for site in experiment.sites}
    found: dict[str, dict[str, float]] = {}
    tests: dict[str, Part] = {}  # way of decoding -> the test images of all sites
    for site, own in settings.items():
        path = checkpoint_path(folder, experiment=experiment, site=site, which="last")
        if not path.is_file():
            continue
        size = image_size_of(own.data)
        model = Model.open(own.bundle, num_classes=len(experiment.classes), image_size=size, device=own.device)
        if model.bundle.decoding not in tests:
            tests[model.bundle.decoding] = _all_tests(model, list(settings.values()), cache=cache)
        model.load_state(load_tensors(path)["model"])
        scores, _ = model.score(tests[model.bundle.decoding])
        found[site] = {name: getattr(scores, name) for name in HEADLINES}
        unseen = unseen_recall(scores.recall, counts=training_counts(own.data, classes=experiment.classes))
        if unseen is not None:
            found[site]["unseen_recall"] = unseen
    return found


def training_counts(data: Path, *, classes: Sequence[str]) -> list[int]:
    """Return how many training images of each class a site has, by their clean labels, as its card says."""
    counts = read_json(data / "card.json")["counts"]["training"]
    return [counts[name] for name in classes]


def unseen_recall(recall: Sequence[float | None], *, counts: Sequence[int]) -> float | None:
    """Return the mean recall of the classes that a site has no training image of; None if there are none to test."""
    unseen = [share for share, count in zip(recall, counts, strict=True) if not count and share is not None]
    return sum(unseen) / len(unseen) if unseen else None


def _all_tests(model: "Model", settings: list[SiteSettings], *, cache: ImageCache) -> "Part":
    """Return the test images of all sites as one part, as a model's bundle decodes them."""
    import torch

    from mdhfl.learning.images import Part, load_private_set

    parts = [load_private_set(one.data, **model.how_to_read(cache=cache)).test for one in settings]
    return Part(images=torch.cat([part.images for part in parts]), labels=torch.cat([part.labels for part in parts]))

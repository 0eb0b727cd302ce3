"""How well a run's models know what other sites see: every last model, scored on the test images of all sites.

Possible only where all sites are simulated in one place. A model that is tuned to its own site's mix of classes scores
well on that site's test images and badly here; both are worth knowing.
"""

from pathlib import Path
from typing import Any

from mdhfl.learning.cache import ImageCache, how_to_read
from mdhfl.learning.tensors import load_tensors
from mdhfl.metrics import confusion_matrix, scores_from
from mdhfl.rounds.experiment import Experiment
from mdhfl.runs.folder import checkpoint_path, site_settings_path
from mdhfl.site.settings import read_site_settings


def score_on_all(folder: Path, *, experiment: Experiment, cache: ImageCache) -> dict[str, dict[str, float]]:
    """Score every site's last model on the clean test images of all sites together.

    Args:
        folder: of a finished run.
        experiment: the folder's.
        cache: decoded images.

    Returns:
        Site -> accuracy, macro_f1 and balanced_accuracy, each from 0 to 1; sites without a last model are left out.
    """
    import torch

    from mdhfl.learning.bundle import load_bundle
    from mdhfl.learning.images import image_size_of, load_private_set
    from mdhfl.learning.training import predict

    settings = {site: read_site_settings(site_settings_path(folder, site)) for site in experiment.sites}
    classes, found = len(experiment.classes), {}
    tests: dict[str, tuple[Any, Any]] = {}  # way of decoding -> images and labels of all sites
    for site, one in settings.items():
        path = checkpoint_path(folder, experiment=experiment, site=site, which="last")
        if not path.is_file():
            continue
        size = image_size_of(one.data)
        bundle = load_bundle(one.bundle, num_classes=classes, image_size=size)
        if bundle.decoding not in tests:
            how = how_to_read(bundle, image_size=size, cache=cache)
            parts = [load_private_set(other.data, **how).test for other in settings.values()]
            labels = torch.cat([part.labels for part in parts]).numpy()
            tests[bundle.decoding] = torch.cat([part.images for part in parts]), labels
        images, labels = tests[bundle.decoding]
        bundle.network.load_state_dict(load_tensors(path)["model"])
        bundle.network.to(one.device).to(memory_format=torch.channels_last)
        predicted = predict(bundle.network, images=images, intensity=bundle.intensity_transform).argmax(dim=1).numpy()
        scores = scores_from(confusion_matrix(labels, predicted, classes=classes), ece=0.0)
        found[site] = {name: getattr(scores, name) for name in ("accuracy", "macro_f1", "balanced_accuracy")}
    return found

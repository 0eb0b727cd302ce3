"""How a network that carries no prior answers about images of its site's own mix of classes.

A network that learns from a mean of answers becomes unsure: its scores shrink, and a prior that is added to them
outweighs what they say. One factor brings them back, fitted to held-out images: temperature scaling (Guo et al., "On
Calibration of Modern Neural Networks", ICML 2017), here together with the prior.
"""

import math
from dataclasses import dataclass

from torch import Tensor

LEAST_IMAGES = 10  # below, nothing is fitted
SMALLEST, LARGEST = 0.05, 20.0  # factors
HALVINGS = 40  # of the interval between the two, on a logarithmic scale


@dataclass(frozen=True, kw_only=True)
class OwnMix:
    """Logits z become scale * z + prior.

    Attributes:
        prior: (C,) the classes' log shares at the site, as far as training left them out.
        scale: above 0; 1 where nothing is fitted.
    """

    prior: Tensor
    scale: float = 1.0

    def __call__(self, logits: Tensor) -> Tensor:
        return self.scale * logits + self.prior


def fitted_scale(logits: Tensor, labels: Tensor, *, prior: Tensor) -> float:
    """Return the factor b that minimises the mean cross-entropy of b * z + prior, between 0.05 and 20.

    The cross-entropy is convex in b, so its derivative, mean(E_p[z] - z_y) with p = softmax(b * z + prior), changes its
    sign at most once.

    Args:
        logits: (M, C) of images that the network was not trained on.
        labels: (M,) their classes.
        prior: (C,) as in `OwnMix`.

    Returns:
        The factor; 1 where there are fewer than 10 images.
    """
    if len(labels) < LEAST_IMAGES:
        return 1.0
    z, shift = logits.double(), prior.double()
    told = z.gather(1, labels[:, None]).mean()

    def rises(scale: float) -> bool:
        answers = (scale * z + shift).softmax(dim=1)
        return bool((answers * z).sum(dim=1).mean() > told)

    low, high = SMALLEST, LARGEST
    for _ in range(HALVINGS):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if rises(middle) else (middle, high)
    return math.sqrt(low * high)

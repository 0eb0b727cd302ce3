"""What images can be made from answers about public images, and how much they show of a site's private ones.

Where classes are few, an attacker makes one image a class. Two attacks: the mean of the public images weighted by what
the site says of them; and paired-logit inversion, a network that learns from (site's answer, others' answer) -> public
image and is then asked for the image of which the site alone is sure (Takahashi, Liu, Liu, "Breaching FedMD", CVPR
2023, arXiv 2304.11436). A private image is shown by a reconstruction as far as that is closer to it than the plain mean
of other images of its class is, which anybody has who has such images.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mdhfl.audit.candidates import Candidates
from mdhfl.audit.intervals import FEWEST, RESAMPLES
from mdhfl.seeds import seed_from

if TYPE_CHECKING:
    import torch

Images = NDArray[np.float64]  # (..., 3, S, S) in [0, 1]
SURE = 0.99  # probability of the class that the network is asked for
SMALLEST = 1e-4  # of a probability, before a logarithm
HIDDEN, EPOCHS, RATE = 128, 60, 3e-3  # of the inversion network
MOST_IMAGES = 300  # private images that are compared, drawn evenly


@dataclass(frozen=True, kw_only=True)
class InversionAudit:
    """Quality of the reconstructions, mean over a site's training images.

    Attributes:
        attack: the better of the two.
        images: how many are compared.
        psnr: peak signal-to-noise ratio of an image to its class's reconstruction, in dB.
        mean_psnr: the same to the plain class mean.
        ssim: structural similarity to the reconstruction, in [-1, 1].
        mean_ssim: the same to the plain class mean.
        gain: psnr - mean_psnr; above 0 the reconstruction shows more than a class mean.
        low: lower end of the gain's 95 % interval over the images; None with too few.
        high: upper end.
    """

    attack: str
    images: int
    psnr: float
    mean_psnr: float
    ssim: float
    mean_ssim: float
    gain: float
    low: float | None
    high: float | None


def audit_inversion(
    candidates: Candidates, answers: NDArray[np.floating], reference: NDArray[np.floating]
) -> InversionAudit | None:
    """Attack, and compare each training image with its class's reconstruction and with the class mean.

    Args:
        candidates: the site's images.
        answers: (N, C) probabilities of the site for the public images.
        reference: (N, C) probabilities of others; a uniform guess where there are none.

    Returns:
        The better attack; None where no class has both a training image and a held-out one.
    """
    public, private = _plain(candidates.public), _plain(candidates.images)
    labels = candidates.labels.numpy()
    means = class_means(private[candidates.members :], labels[candidates.members :], classes=answers.shape[1])
    chosen = [index for index in range(candidates.members) if int(labels[index]) in means]
    chosen = chosen[:: max(1, -(-len(chosen) // MOST_IMAGES))]
    if not chosen:
        return None
    plain = [_quality(private[index], means[int(labels[index])]) for index in chosen]
    found = []
    for attack, made in (
        ("weighted mean", weighted_means(public, answers)),
        ("paired-logit inversion", inverted(public, answers, reference)),
    ):
        quality = [_quality(private[index], made[labels[index]]) for index in chosen]
        found.append(_audit(attack, np.array(quality), np.array(plain)))
    return max(found, key=lambda audit: audit.gain)


def class_means(images: Images, labels: NDArray[np.integer], *, classes: int) -> Mapping[int, Images]:
    """Return the mean image of each class that has one."""
    return {label: images[labels == label].mean(axis=0) for label in range(classes) if (labels == label).any()}


def weighted_means(public: Images, answers: NDArray[np.floating]) -> Images:
    """Return (C, 3, S, S): for each class the mean of the public images, weighted by its probability."""
    weights = np.maximum(answers.astype(np.float64), SMALLEST)
    means: Images = np.einsum("nc,nijk->cijk", weights / weights.sum(axis=0), public)
    return means


def inverted(public: Images, answers: NDArray[np.floating], reference: NDArray[np.floating]) -> Images:
    """Return (C, 3, S, S): what a network that maps pairs of answers to public images makes of a sure answer."""
    import torch
    from torch import nn

    torch.manual_seed(seed_from("audit", "inversion"))
    inputs = torch.from_numpy(np.concatenate([_logs(answers), _logs(reference)], axis=1)).float()
    targets = torch.from_numpy(public).float().flatten(1)
    classes, pixels = answers.shape[1], targets.shape[1]
    network = nn.Sequential(nn.Linear(2 * classes, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, pixels), nn.Sigmoid())
    _train(network, inputs, targets)
    sure = np.full((classes, classes), (1 - SURE) / max(classes - 1, 1))
    np.fill_diagonal(sure, SURE)
    others = np.stack([_others_when(answers, reference, label) for label in range(classes)])
    with torch.inference_mode():
        made = network(torch.from_numpy(np.concatenate([_logs(sure), _logs(others)], axis=1)).float())
    images: Images = made.numpy().astype(np.float64).reshape(classes, *public.shape[1:])
    return images


def _train(network: "torch.nn.Module", inputs: "torch.Tensor", targets: "torch.Tensor") -> None:
    import torch
    from torch.nn import functional as F

    optimizer = torch.optim.Adam(network.parameters(), lr=RATE)
    generator = torch.Generator().manual_seed(seed_from("audit", "inversion", "order"))
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(inputs), generator=generator).split(32):
            optimizer.zero_grad()
            F.mse_loss(network(inputs[batch]), targets[batch]).backward()
            optimizer.step()


def _others_when(answers: NDArray[np.floating], reference: NDArray[np.floating], label: int) -> NDArray[np.float64]:
    """Return the others' answer where the site is surest of a class, by so much more than they are."""
    gap = np.maximum(answers[:, label] - reference[:, label], 0) + SMALLEST
    mean: NDArray[np.float64] = (gap[:, None] * reference).sum(axis=0) / gap.sum()
    return mean


def _logs(probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    logs: NDArray[np.float64] = np.log(np.maximum(probabilities.astype(np.float64), SMALLEST))
    return logs


def _plain(images: "torch.Tensor") -> Images:
    pixels: Images = images.numpy().astype(np.float64) / 255
    return pixels


def _quality(image: Images, made: Images) -> tuple[float, float]:
    """Return PSNR in dB and SSIM of one (3, S, S) image to another."""
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    error = float(((image - made) ** 2).mean())
    psnr = peak_signal_noise_ratio(image, made, data_range=1.0) if error > 0 else 100.0
    return float(psnr), float(structural_similarity(image, made, channel_axis=0, data_range=1.0))


def _audit(attack: str, quality: NDArray[np.float64], plain: NDArray[np.float64]) -> InversionAudit:
    from scipy.stats import bootstrap

    gains = quality[:, 0] - plain[:, 0]
    low = high = None
    if len(gains) >= FEWEST:
        random = np.random.default_rng(0)
        interval = bootstrap((gains,), np.mean, n_resamples=RESAMPLES, method="percentile", rng=random)
        low, high = map(float, interval.confidence_interval)
    means, plain_means = quality.mean(axis=0), plain.mean(axis=0)
    return InversionAudit(
        attack=attack,
        images=len(gains),
        psnr=float(means[0]),
        mean_psnr=float(plain_means[0]),
        ssim=float(means[1]),
        mean_ssim=float(plain_means[1]),
        gain=float(gains.mean()),
        low=low,
        high=high,
    )

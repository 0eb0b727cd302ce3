"""Losses for wrong labels and for learning from a teacher, and what frees a network of its site's prior."""

from torch import Tensor
from torch.nn import functional as F

SMALLEST_PROBABILITY = 1e-7  # p is clamped here before it multiplies log g (reference value)
SMALLEST_LABEL = 1e-4  # zeros of the one-hot label become this, so that their logarithm is finite (reference value)


def symmetric_cross_entropy(logits: Tensor, labels: Tensor, *, ce_weight: float, rce_weight: float) -> Tensor:
    """Symmetric cross-entropy, robust to wrong labels.

    `ce_weight * CE + rce_weight * RCE` with CE = -sum_c g_c log p_c and RCE = -sum_c p_c log g_c, p the softmax of the
    logits and g the one-hot label whose zeros are set to 1e-4. RCE is bounded: it is close to 9.21 * (1 - p_y).

    Args:
        logits: (B, C) scores.
        labels: (B,) class indices in [0, C).
        ce_weight: weight of the cross-entropy, at least 0. Paper: 0.1.
        rce_weight: weight of the reverse cross-entropy, at least 0. Paper: 1.0.

    Returns:
        Scalar, the mean over the batch, in nats.

    Source: Wang et al., "Symmetric Cross Entropy for Robust Learning with Noisy Labels", ICCV 2019, equations 5 to 8.
    """
    cross_entropy = F.cross_entropy(logits, labels)
    if rce_weight == 0:
        return ce_weight * cross_entropy
    probabilities = logits.softmax(dim=1).clamp(min=SMALLEST_PROBABILITY)
    label_distribution = F.one_hot(labels, num_classes=logits.shape[1]).to(logits.dtype).clamp(min=SMALLEST_LABEL)
    reverse = -(probabilities * label_distribution.log()).sum(dim=1).mean()
    return ce_weight * cross_entropy + rce_weight * reverse


def knowledge_divergence(logits: Tensor, teacher: Tensor, *, temperature: float) -> Tensor:
    """Kullback-Leibler divergence KL(teacher || softmax(logits / temperature)), teacher first and detached.

    Args:
        logits: (B, C) scores of the learning model; the gradient flows into these only.
        teacher: (B, C) class probabilities, rows sum to 1. For several teachers pass their mean: the gradient is the
            same as that of the mean of the divergences.
        temperature: above 0; the teacher's probabilities must have been made with the same one. Paper: 1.

    Returns:
        Scalar, the mean over the batch, in nats, at least 0.

    Source: arXiv 2308.00155, knowledge alignment; Hinton et al., arXiv 1503.02531, for the temperature.
    """
    return F.kl_div(F.log_softmax(logits / temperature, dim=1), teacher.detach(), reduction="batchmean")


def log_prior(counts: Tensor) -> Tensor:
    """Return the (C,) logarithms of a site's smoothed class shares, (n_c + 1) / (n + C), from its (C,) label counts.

    A class without an image has a small share, never none.
    """
    return ((counts + 1) / (counts.sum() + len(counts))).log()


def prior_adjusted(logits: Tensor, log_prior: Tensor, *, strength: float) -> Tensor:
    """Return z + strength * log pi, on which the local loss is computed so that z itself carries no prior.

    Args:
        logits: (B, C) scores z.
        log_prior: (C,), see `log_prior`.
        strength: tau; 1 is the balanced softmax, 0 leaves the scores as they are.

    Source: Ren et al., "Balanced Meta-Softmax for Long-Tailed Visual Recognition", NeurIPS 2020, equation 4; Menon et
    al., "Long-tail learning via logit adjustment", ICLR 2021, equation 10.
    """
    return logits + strength * log_prior if strength else logits


def generalised_cross_entropy(logits: Tensor, labels: Tensor, *, q: float) -> Tensor:
    """(1 - p_y^q) / q, mean over the batch: between cross-entropy (q towards 0) and mean absolute error (q = 1).

    Args:
        logits: (B, C) scores.
        labels: (B,) class indices.
        q: in (0, 1].

    Source: Zhang, Sabuncu: "Generalized Cross Entropy Loss for Training Deep Neural Networks with Noisy Labels",
    NeurIPS 2018, equation 6.
    """
    right = logits.log_softmax(dim=1).gather(1, labels[:, None])
    return ((1 - (q * right).exp()) / q).mean()

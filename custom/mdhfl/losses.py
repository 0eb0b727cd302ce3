"""The two losses of MDH-FL (arXiv 2308.00155): one for wrong labels, one for learning from a teacher."""

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

"""More questions from the same public images: each one turned, mirrored and zoomed at random, equally at every site.

The teachers are functions; public images only probe them (Beyer et al., "Knowledge distillation: A good teacher is
patient and consistent", CVPR 2022: same view to teacher and student). More probes tell more about the functions.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

SMALLEST_ZOOM, LARGEST_ZOOM = 0.8, 1.25


def views_of(images: Tensor, *, count: int, seed: int) -> Tensor:
    """Return the images, followed by `count - 1` views of all of them.

    Args:
        images: (N, 3, S, S) uint8.
        count: V, at least 1; 1 gives the images as they are.
        seed: of the angles (0 to 360 degrees), mirrorings (half of them) and zooms (0.8 to 1.25).

    Returns:
        (V * N, 3, S, S) uint8, view by view.
    """
    generator = torch.Generator().manual_seed(seed)
    return torch.cat([images, *(_view(images, generator) for _ in range(count - 1))])


def _view(images: Tensor, generator: torch.Generator) -> Tensor:
    """Return one view of each image; what lies outside is mirrored in."""
    n = len(images)
    angle = torch.rand(n, generator=generator) * 2 * math.pi
    low, high = math.log(SMALLEST_ZOOM), math.log(LARGEST_ZOOM)
    zoom = (low + torch.rand(n, generator=generator) * (high - low)).exp()
    mirror = torch.where(torch.rand(n, generator=generator) < 0.5, -1.0, 1.0)
    cosine, sine, none = angle.cos() / zoom, angle.sin() / zoom, torch.zeros(n)
    rows = (torch.stack([mirror * cosine, -sine, none], dim=1), torch.stack([mirror * sine, cosine, none], dim=1))
    grid = F.affine_grid(torch.stack(rows, dim=1), list(images.shape), align_corners=False)
    moved = F.grid_sample(images.float(), grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    return moved.round().clamp(0, 255).to(torch.uint8)

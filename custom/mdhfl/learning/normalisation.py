"""Batch normalisation on images of another kind: their batches leave the running statistics alone.

A public image set comes from another scanner than a site's own images. Batches of it would overwrite the statistics
with which the site's own images are classified later, and those statistics would distort its answers to the others.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


@contextmanager
def statistics_kept(network: nn.Module) -> Iterator[None]:
    """Let a network in training mode normalise by its batches without a trace in its running statistics."""
    layers = [layer for layer in network.modules() if isinstance(layer, _BatchNorm)]
    before = [(layer.momentum, layer.num_batches_tracked) for layer in layers]
    for layer in layers:
        layer.momentum = 0.0
        layer.num_batches_tracked = None if layer.num_batches_tracked is None else layer.num_batches_tracked.clone()
    try:
        yield
    finally:
        for layer, (momentum, tracked) in zip(layers, before, strict=True):
            layer.momentum, layer.num_batches_tracked = momentum, tracked


@contextmanager
def batch_statistics(network: nn.Module) -> Iterator[None]:
    """Let a network's normalisation use the statistics of what it is shown; everything else is in evaluation mode."""
    network.eval()
    for layer in network.modules():
        if isinstance(layer, _BatchNorm):
            layer.train()
    with statistics_kept(network):
        try:
            yield
        finally:
            network.eval()

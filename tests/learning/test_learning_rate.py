"""A learning rate that is smaller for a while."""

import pytest
import torch

from mdhfl.learning.training import slowed


def test_a_slowed_step_is_a_step_with_the_smaller_rate_and_leaves_the_optimiser_as_it_was() -> None:
    weights = [torch.nn.Parameter(torch.ones(3)) for _ in range(2)]
    slow, literal = torch.optim.Adam([weights[0]], 0.1), torch.optim.Adam([weights[1]], 0.025)
    for optimizer, weight in ((slow, weights[0]), (literal, weights[1])):
        (weight * torch.tensor([1.0, -2.0, 3.0])).sum().backward()
        with slowed(optimizer, by=0.25 if optimizer is slow else 1.0):
            optimizer.step()
    torch.testing.assert_close(weights[0], weights[1], rtol=0, atol=0)
    assert slow.param_groups[0]["lr"] == 0.1
    with pytest.raises(RuntimeError), slowed(slow, by=0.5):
        raise RuntimeError
    assert slow.param_groups[0]["lr"] == 0.1

"""Methods are made from plain values, and refuse what makes no sense."""

import numpy as np
import pytest
import torch

from mdhfl.jobs import RECIPES
from mdhfl.methods import create, parameters_of
from mdhfl.methods.mdhfl import Mdhfl

PAPER = dict(parameters_of(RECIPES["mdhfl"].method))


def test_the_recipe_holds_the_papers_values() -> None:
    assert RECIPES["mdhfl"].rounds == 40
    assert PAPER["ce_weight"] == 0.1
    assert PAPER["rce_weight"] == 1.0
    assert PAPER["temperature"] == 1.0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"temperature": 0}, "temperature: expected above 0, got 0"),
        ({"ce_weight": -1}, "ce_weight: expected at least 0"),
        ({"local_epochs": -1}, "local_epochs: expected at least 0"),
        ({"align_epochs": 0}, "align_epochs: expected at least 1"),
        ({"ce_weight": "a lot"}, "ce_weight: expected a finite number"),
        ({"speed": 3}, "has no parameter speed; it has: warm_up_epochs"),
    ],
)
def test_wrong_parameters_are_refused(change: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        create("mdhfl", {**PAPER, **change})


def test_unknown_and_incomplete_methods_are_refused() -> None:
    with pytest.raises(ValueError, match="no method 'fedmagic'; there are: centralised, centralised_plus, fedavg"):
        create("fedmagic", {})
    with pytest.raises(ValueError, match="needs a value for rce_weight"):
        create("local", {"warm_up_epochs": 0, "local_epochs": 1, "ce_weight": 1.0})


def test_knowledge_is_the_softmax_at_the_temperature() -> None:
    method = create("mdhfl", {**PAPER, "temperature": 2.0})
    assert isinstance(method, Mdhfl)
    logits = torch.tensor([[2.0, 0.0]])
    expected = np.exp([1.0, 0.0]) / np.exp([1.0, 0.0]).sum()
    np.testing.assert_allclose(method.express(logits).numpy()[0], expected, rtol=1e-6)


def test_local_with_unit_weights_is_plain_cross_entropy() -> None:
    method = create("local", dict(parameters_of(RECIPES["local"].method)))
    logits, labels = torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    torch.testing.assert_close(
        method.training_loss(logits, labels), torch.nn.functional.cross_entropy(logits, labels), rtol=0, atol=0
    )
    assert method.shares is None

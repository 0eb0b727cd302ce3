"""Learning rate, batch size, optimiser and augmentation of a bundle, changed for a run or a site."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mdhfl.files import shipped_folder
from mdhfl.learning.bundle import BundleError, load_bundle
from mdhfl.learning.bundle_changes import KNOWN, changed_config, check_changes, split_changes, with_prefix
from mdhfl.learning.bundle_check import verify_bundle
from mdhfl.learning.bundle_digest import bundle_digest
from mdhfl.site.settings import read_site_settings


def loaded(**changes: Any) -> Any:
    torch.manual_seed(0)
    return load_bundle("resnet10", num_classes=3, image_size=32, changes=changes)


def test_each_change_is_in_what_trains_and_nothing_else_is() -> None:
    plain = loaded()
    changed = loaded(learning_rate=3e-4, batch_size=8, augmentation=False)
    (group,) = changed.optimizer.param_groups
    assert (group["lr"], changed.batch_size, changed.random_transforms) == (3e-4, 8, None)
    assert type(changed.optimizer) is type(plain.optimizer) is torch.optim.Adam
    assert group["fused"] is True  # an argument of the bundle's own
    assert changed.decoding == plain.decoding
    for one, other in zip(plain.network.parameters(), changed.network.parameters(), strict=True):
        assert torch.equal(one, other)
    assert loaded(augmentation=True).random_transforms is not None


def test_another_optimizer_takes_the_learning_rate_and_its_own_arguments() -> None:
    changed = loaded(**{"optimizer": "SGD", "optimizer.momentum": 0.9, "optimizer.nesterov": True})
    (group,) = changed.optimizer.param_groups
    assert type(changed.optimizer) is torch.optim.SGD
    assert (group["lr"], group["momentum"], group["nesterov"]) == (0.001, 0.9, True)


def test_a_learning_rate_that_cannot_learn_is_found_by_the_training_step() -> None:
    assert verify_bundle("resnet10", num_classes=3, image_size=32, changes={"learning_rate": 1e-3}) == []
    (problem,) = verify_bundle("resnet10", num_classes=3, image_size=32, changes={"learning_rate": 1e30})
    assert "finite" in problem or "fails" in problem


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"learning_rate": 0}, "bundle.learning_rate: expected a number above 0, got 0"),
        ({"learning_rate": float("nan")}, "bundle.learning_rate: expected a number above 0, got nan"),
        ({"learning_rate": "$1"}, "bundle.learning_rate: expected a number above 0"),
        ({"batch_size": 1}, "bundle.batch_size: expected a whole number of at least 2, got 1"),
        ({"batch_size": True}, "bundle.batch_size"),
        ({"optimizer": "$__import__('os')"}, "bundle.optimizer: expected a class of torch.optim by its name"),
        ({"augmentation": "no"}, r"bundle.augmentation: expected true \(the bundle's own\) or false \(none\)"),
        ({"optimizer.momentum": "@x"}, "bundle.optimizer.momentum: expected a number, true or false"),
        ({"optimizer.a#b": 1}, "no such setting of a bundle; there are: bundle.learning_rate, "),
        ({"network_def": 1}, "bundle.network_def: no such setting of a bundle"),
    ],
)
def test_what_is_no_change_is_refused_by_name(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said) as raised:
        check_changes(changes)
    assert "\n" not in str(raised.value)


@given(st.text(), st.one_of(st.text(), st.lists(st.integers()), st.none()))
def test_no_text_becomes_an_expression(name: str, value: Any) -> None:
    """Whatever passes the check leaves a configuration without any text that MONAI would evaluate, but its own."""
    try:
        check_changes({name: value})
    except ValueError:
        return
    config = changed_config({"optimizer": {"_target_": "torch.optim.Adam"}}, {name: value})
    assert not {c for c in json.dumps(config) if c in "$@%"}


def test_an_optimizer_of_torch_that_there_is_not_is_named() -> None:
    with pytest.raises(BundleError, match=r"bundle resnet10: .*optimizer cannot be built"):
        loaded(optimizer="Adamm")


def test_an_optimizer_that_is_an_expression_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="optimizer: expected a _target_ with arguments"):
        changed_config({"optimizer": "$torch.optim.Adam(@network.parameters())"}, {"learning_rate": 0.1})


def test_changes_count_in_the_bundle_s_digest_and_none_do_not() -> None:
    plain = bundle_digest("resnet10")
    assert bundle_digest("resnet10", changes={}) == plain
    assert bundle_digest("resnet10", changes={"batch_size": 8}) != plain
    assert bundle_digest("resnet10", changes={"batch_size": 8}) != bundle_digest("resnet10", changes={"batch_size": 9})


def test_changes_are_told_from_hyper_parameters_of_methods_by_their_prefix() -> None:
    given = {"ce_weight": 0.5, "bundle.batch_size": 8, "bundle.optimizer.momentum": 0.9}
    method, bundle = split_changes(given)
    assert method == {"ce_weight": 0.5}
    assert bundle == {"batch_size": 8, "optimizer.momentum": 0.9}
    assert {**method, **with_prefix(bundle)} == given


def test_a_site_says_its_changes_in_its_settings(tmp_path: Path) -> None:
    values = {
        "version": 1, "site": "a", "bundle": "resnet10", "data": "d", "public": "p", "state": "s", "device": "cpu",
        "threads": 1, "bundle_changes": {"learning_rate": 0.01},
    }  # fmt: skip
    path = tmp_path / "site.json"
    path.write_text(json.dumps(values))
    settings = read_site_settings(path)
    assert settings.bundle_changes == {"learning_rate": 0.01}
    assert settings.to_json()["bundle_changes"] == {"learning_rate": 0.01}
    path.write_text(json.dumps({**values, "bundle_changes": {"batch_size": 0}}))
    with pytest.raises(ValueError, match=r"site.json: bundle.batch_size: expected a whole number"):
        read_site_settings(path)


@pytest.mark.parametrize("name", ["resnet10", "shufflenet_v2", "mobilenet_v2", "resnet12"])
def test_every_bundle_of_ours_can_be_changed(name: str) -> None:
    config = yaml.safe_load((shipped_folder("bundles") / name / "configs" / "train.yaml").read_text())
    changed = changed_config(config, {"learning_rate": 0.5, "batch_size": 4, "augmentation": False})
    assert (changed["optimizer"]["lr"], changed["batch_size"], changed["random_transforms"]) == (0.5, 4, [])
    assert set(KNOWN) == {"learning_rate", "batch_size", "optimizer", "augmentation"}

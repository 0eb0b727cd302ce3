"""Lists of values become methods, and equal runs are one run, whatever they are called."""

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from fakes.comparisons import SMALL, written
from fakes.simulated import own_bundle, set_in
from hypothesis import given
from hypothesis import strategies as st

from mdhfl.comparison import identity
from mdhfl.comparison.grid import read_comparison
from mdhfl.comparison.sweep import variants

METHODS = {"methods": {"MDH-FL": {"recipe": "mdhfl", "set": {"ce_weight": [0.1, 1.0], "bundle.learning_rate": [1e-3]}}}}
VALUES = st.lists(st.integers(), min_size=1, max_size=4, unique=True)


@given(st.dictionaries(st.sampled_from(["a", "b", "bundle.c"]), st.one_of(VALUES, st.booleans()), max_size=3))
def test_every_combination_is_one_method(chosen: dict[str, Any]) -> None:
    found = list(variants("M", chosen, common={"d": 1}))
    count = 1
    for values in chosen.values():
        count *= len(values) if isinstance(values, list) else 1
    assert len(found) == len({title for title, _ in found}) == count
    for _, changes in found:
        assert changes["d"] == 1
        for name, value in changes.items():
            if name != "d":
                assert value in chosen[name] if isinstance(chosen[name], list) else value == chosen[name]


def test_a_list_in_the_file_is_a_sweep_of_named_methods(tmp_path: Path) -> None:
    cells = read_comparison(written(tmp_path, noise={"none": {}}, **METHODS)).cells
    assert [cell.method for cell in cells] == [
        "MDH-FL, ce_weight 0.1, bundle.learning_rate 0.001",
        "MDH-FL, ce_weight 1.0, bundle.learning_rate 0.001",
    ]
    assert [cell.method_used.ce_weight for cell in cells] == [0.1, 1.0]  # type: ignore[attr-defined]
    assert cells[0].bundle_changes == {"learning_rate": 0.001}
    assert cells[0].settings["bundle.learning_rate"] == 0.001
    assert len({cell.run_folder for cell in cells}) == 2


def test_numbers_that_yaml_takes_for_text_are_numbers(tmp_path: Path) -> None:
    file = tmp_path / "small.yaml"
    text = yaml.safe_dump({**SMALL, "set": {}}, sort_keys=False).replace(
        "set: {}", "set: {bundle.learning_rate: [3e-4, 1e-3]}"
    )
    file.write_text(text)
    cells = read_comparison(file).cells
    assert {cell.bundle_changes["learning_rate"] for cell in cells} == {3e-4, 1e-3}


def test_seeds_come_one_after_another_with_all_methods_of_each(tmp_path: Path) -> None:
    cells = read_comparison(written(tmp_path, seeds=[0, 1], **METHODS)).cells
    assert [cell.seed for cell in cells] == [0, 0, 0, 0, 1, 1, 1, 1]


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({"ce_weight": []}, r"ce_weight: expected one value or a list of different ones, got \[\]"),
        ({"ce_weight": [1, 1]}, "expected one value or a list of different ones"),
        ({"ce_weight": [0.1, -1]}, "ce_weight -1 on IID, none: ce_weight: expected at least 0"),
        ({"bundle.learning_rate": [0.1, 0]}, "bundle.learning_rate: expected a number above 0, got 0"),
        ({"bundle.network_def": 1}, "bundle.network_def: no such setting of a bundle"),
    ],
)
def test_a_sweep_that_cannot_be_is_refused(tmp_path: Path, chosen: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said) as raised:
        read_comparison(written(tmp_path, methods={"MDH-FL": {"recipe": "mdhfl", "set": chosen}}))
    assert "small.yaml" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_two_methods_of_one_title_are_refused(tmp_path: Path) -> None:
    methods = {
        "A": {"recipe": "mdhfl", "set": {"ce_weight": [0.1]}},
        "A, ce_weight 0.1": {"recipe": "mdhfl"},
    }
    with pytest.raises(ValueError, match=r"two methods are called 'A, ce_weight 0\.1'"):
        read_comparison(written(tmp_path, methods=methods))


def test_the_same_run_under_other_titles_is_the_same_folder(tmp_path: Path) -> None:
    one = read_comparison(written(tmp_path)).cells
    again = {
        name: {f"again {title}": chosen for title, chosen in SMALL[name].items()}
        for name in ("federations", "noise", "methods")
    }
    other = read_comparison(written(tmp_path, **again)).cells
    assert [cell.run_folder for cell in one] == [cell.run_folder for cell in other]
    assert not {cell.title for cell in one} & {cell.title for cell in other}


@pytest.mark.parametrize(
    "changes",
    [{"rounds": 2}, {"bundles": ["resnet10"]}, {"set": {"warm_up_epochs": 1, "bundle.batch_size": 8}}, {"seeds": [1]}],
    ids=str,
)
def test_whatever_decides_a_run_s_numbers_is_in_its_folder_s_name(tmp_path: Path, changes: dict[str, Any]) -> None:
    one = read_comparison(written(tmp_path)).cells
    other = read_comparison(written(tmp_path, **changes)).cells
    assert not {cell.run_folder for cell in one} & {cell.run_folder for cell in other}


def test_a_bundle_or_a_method_that_was_edited_makes_another_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "edited_method.py"
    module.write_text("from mdhfl.methods import METHODS\nclass Mine(METHODS['local']):\n    title = 'mine'\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    bundle = own_bundle(tmp_path / "mine", ("epochs: 20", "epochs: 20"))
    asked = {"bundles": [str(bundle)], "methods": {"mine": {"recipe": "edited_method:Mine"}}, "noise": {"none": {}}}

    def folder() -> str:
        identity._digest_of_file.cache_clear()
        (cell,) = read_comparison(written(tmp_path, **asked)).cells
        return cell.run_folder

    before = folder()
    assert folder() == before
    set_in(bundle, ("lr: 0.001", "lr: 0.002"))
    edited = folder()
    module.write_text(module.read_text() + "# another\n")
    assert len({before, edited, folder()}) == 3
    sys.modules.pop("edited_method")

"""A site's model as a bundle of its own: complete, honest, and at work where mdhfl cannot be imported."""

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner
from fakes.damage import edit_json, edit_sealed
from fakes.monai_alone import run_without_mdhfl
from fakes.schema import SCHEMA
from fakes.simulated import new_run
from fakes.small_federation import CLASSES, write_federation
from fakes.strange_images import write_strange_images

from mdhfl.commands.export_bundle import export_bundle_command
from mdhfl.export.bundle import export_bundle
from mdhfl.export.facts import crop_of, window_of
from mdhfl.files import shipped_folder
from mdhfl.learning.bundle import BundleError, load_bundle
from mdhfl.learning.weights_file import load_weights
from mdhfl.preprocessing.raw.cropping import square
from mdhfl.preprocessing.raw.reading import decode_rgb
from mdhfl.runs.folder import checkpoint_path
from mdhfl.server.journal import lines_of
from mdhfl.store.sealed import previous, write_sealed_json
from mdhfl.store.tensors import load_tensors, save_tensors
from tools.write_bundles import DECODER

RECALL = [1.0, 0.5, None]
LABELS = {name: index for index, name in enumerate(CLASSES)}


def finished_run(folder: Path, federation: Path, *, bundle: str = "resnet10") -> Path:
    """Write what a finished run leaves, without training: site-1 was best in round 1 of 2."""
    experiment = new_run(folder, federation, bundles=[bundle])
    torch.manual_seed(0)
    model = load_bundle(bundle, num_classes=len(CLASSES), image_size=32).network.state_dict()
    for which, number in {"best": 1, "last": 2}.items():
        path = checkpoint_path(folder, experiment=experiment, site="site-1", which=which)
        path.parent.mkdir(parents=True, exist_ok=True)
        own = {"site": "site-1", "experiment": experiment.id}
        for _ in range(2):
            save_tensors(path, {**own, "model": model, "round": number, "scores": {}})
    scores = {"accuracy": 0.75, "macro_f1": 0.7, "balanced_accuracy": 0.72, "ece": 0.1}
    rows = [
        {"round": r, "site": "site-1", "status": "ok", "test": {**scores, "accuracy": 0.5 + r / 4, "recall": RECALL}}
        for r in range(3)
    ]
    (folder / "results.jsonl").write_bytes(lines_of(rows))
    said = {"bundle": bundle, "architecture": "ResNet10", "parameters": 4908227}
    refused = {"accuracy": None, "refused": [{"round": 0, "reason": "its data is gone"}]}
    summary = {"status": "finished", "sites": {"site-1": said, "site-2": refused}}
    write_sealed_json(folder / "summary.json", summary)
    return folder


def arguments_of(federation: Path) -> Mapping[str, Any]:
    return dict(json.loads((federation / "federation.json").read_text(encoding="utf-8"))["arguments"])


@pytest.fixture
def federation(tmp_path: Path) -> Path:
    return write_federation(tmp_path / "fed")


@pytest.fixture
def run(tmp_path: Path, federation: Path) -> Path:
    return finished_run(tmp_path / "run", federation)


def metadata(bundle: Path) -> dict[str, Any]:
    return dict(json.loads((bundle / "configs" / "metadata.json").read_text(encoding="utf-8")))


def test_the_bundle_is_complete(run: Path, tmp_path: Path) -> None:
    out = export_bundle(run, site="site-1", out=tmp_path / "deep" / "shared")
    files = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    configs = {f"configs/{name}" for name in ("metadata.json", "train.yaml", "evaluate.yaml", "inference.yaml")}
    decoder = {f"mdhfl_decoding/{name}.py" for name in ("__init__", *DECODER)}
    assert files == {*configs, *decoder, "mdhfl_transforms.py", "models/model.pt", "docs/README.md", "LICENSE"}
    assert [path.name for path in out.parent.iterdir()] == ["shared"]


def test_the_weights_are_a_plain_state_dict_of_the_site_s_model(run: Path, tmp_path: Path) -> None:
    out = export_bundle(run, site="site-1", out=tmp_path / "shared")
    written = torch.load(out / "models" / "model.pt", weights_only=True)
    (path,) = run.glob("sites/site-1/*/best.pt")
    expected = torch.load(path, weights_only=True)["model"]
    assert list(written) == list(expected)
    assert all(torch.equal(written[name], expected[name]) for name in expected)
    load_weights(load_bundle(out, num_classes=3, image_size=32).network, out / "models" / "model.pt", what="a test")


def test_metadata_names_classes_scores_and_provenance(run: Path, tmp_path: Path) -> None:
    from monai.bundle import verify_metadata, verify_net_in_out

    out = export_bundle(run, site="site-1", out=tmp_path / "shared")
    said = metadata(out)
    answer = said["network_data_format"]["outputs"]["pred"]
    assert answer["channel_def"] == {"0": "blue", "1": "red", "2": "green"}
    assert said["eval_metrics"] == {"accuracy": 0.75, "macro_f1": 0.7, "balanced_accuracy": 0.72, "ece": 0.1}
    assert said["provenance"]["round"] == 1
    assert said["provenance"]["site"] == "site-1"
    verify_metadata(meta_file=str(out / "configs" / "metadata.json"), filepath=str(SCHEMA))
    verify_net_in_out(
        net_id="network_def",
        meta_file=str(out / "configs" / "metadata.json"),
        config_file=str(out / "configs" / "inference.yaml"),
        device="cpu",
    )


def test_the_last_model_comes_with_its_own_scores(run: Path, tmp_path: Path) -> None:
    out = export_bundle(run, site="site-1", out=tmp_path / "shared", which="last")
    assert metadata(out)["eval_metrics"]["accuracy"] == 1.0


def test_the_model_card_says_what_it_is_and_what_not_to_do_with_it(run: Path, federation: Path, tmp_path: Path) -> None:
    noise = {"kind": "symmetric", "rate": 0.2, "realised_rate": 0.1987, "matrix": []}
    edit_json(federation / "sites" / "site-1" / "card.json", noise=noise)
    out = export_bundle(run, site="site-1", out=tmp_path / "shared")
    card = (out / "docs" / "README.md").read_text(encoding="utf-8")
    for said in (
        "# shared\n",
        "| 0.750 | 0.700 | 0.720 | 0.100 |",
        "| red | 0.500 | 8 | 4 |",
        "| green | not known | 8 | 4 |",
        "symmetric, rate 0.2, realised 0.199",
        "round 1 of 2",
        "Not a medical device",
        "discs. Licence: none",
        "--config_file configs/inference.yaml",
    ):
        assert said in card
    assert "discs: none" in (out / "LICENSE").read_text(encoding="utf-8")


def test_the_run_s_class_count_and_the_preparation_s_crop_are_in_the_configuration(
    run: Path, federation: Path, tmp_path: Path
) -> None:
    arguments = {**arguments_of(federation), "crop": ["0.8"], "nan": "black", "max_pixels": 1000}
    facts = {"rule": "", "nan": "black", "window": [-160, 240], "read_as": {}}
    edit_json(federation / "federation.json", arguments=arguments, reading={"ct": facts})
    out = export_bundle(run, site="site-1", out=tmp_path / "shared")
    inference = yaml.safe_load((out / "configs" / "inference.yaml").read_text(encoding="utf-8"))
    assert (inference["num_classes"], inference["image_size"], inference["crop"]) == (3, 32, 0.8)
    assert (inference["window"], inference["nan"], inference["max_pixels"]) == ([-160.0, 240.0], "black", 1000)
    assert yaml.safe_load((out / "configs" / "train.yaml").read_text(encoding="utf-8"))["num_classes"] == 3


@pytest.mark.parametrize(
    ("crops", "sources", "expected"),
    [
        ([], ["a"], None),
        (["0.8"], ["a"], 0.8),
        (["b=200"], ["a"], None),
        (["b=200", "0.5"], ["b"], 200.0),
        (["b=200"], ["a", "b"], None),
    ],
)
def test_crop_of_a_site_s_sources(crops: list[str], sources: list[str], expected: float | None) -> None:
    assert crop_of({"source": "a", "also": ["b=b.zip"], "crop": crops}, sources=sources) == expected


@pytest.mark.parametrize(
    ("origins", "expected"),
    [(["ct"], (-160.0, 240.0)), (["ct", "mr"], None), (["cells"], None), (["unknown"], None)],
)
def test_window_of_a_site_s_own_sources(origins: list[str], expected: tuple[float, float] | None) -> None:
    windows = {"ct": [-160, 240], "mr": [0, 900], "cells": None, "public folder": None}
    reading = {name: {"window": window} for name, window in windows.items()}
    assert window_of({"reading": reading}, origins=origins) == expected
    assert window_of({}, origins=origins) is None


def exported(run: Path, out: Path, site: str = "site-1") -> str:
    with pytest.raises((ValueError, OSError)) as caught:
        export_bundle(run, site=site, out=out)
    assert "\n" not in str(caught.value)
    assert not out.exists() or out.name == "taken"
    return str(caught.value)


def test_an_unknown_site_lists_the_sites(run: Path, tmp_path: Path) -> None:
    assert "site-1, site-2" in exported(run, tmp_path / "shared", site="site-9")


def test_a_site_without_a_model_says_why(run: Path, tmp_path: Path) -> None:
    assert "its data is gone" in exported(run, tmp_path / "shared", site="site-2")


def test_an_unfinished_run_is_to_be_resumed(run: Path, tmp_path: Path) -> None:
    edit_sealed(run / "summary.json", status="unfinished")
    assert "--resume" in exported(run, tmp_path / "shared")
    for path in run.glob("summary.json*"):
        path.unlink()
    assert "--resume" in exported(run, tmp_path / "shared")


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    assert "no experiment.json" in exported(tmp_path, tmp_path / "shared")


def test_what_exists_is_not_overwritten(run: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    assert "exists already" in exported(run, tmp_path / "taken")
    assert list((tmp_path / "taken").iterdir()) == []


def test_a_class_name_that_monai_would_evaluate_is_refused(run: Path, tmp_path: Path) -> None:
    edit_sealed(run / "experiment.json", classes=["$exit()", "red", "green"])
    assert "'$exit()'" in exported(run, tmp_path / "shared")


def test_a_damaged_checkpoint_is_named(run: Path, tmp_path: Path) -> None:
    (path,) = run.glob("sites/site-1/*/best.pt")
    path.write_bytes(b"damaged")
    previous(path).write_bytes(b"damaged")
    assert f"{path}: damaged" in exported(run, tmp_path / "shared")


def test_a_damaged_checkpoint_is_replaced_by_its_copy(run: Path, tmp_path: Path) -> None:
    (path,) = run.glob("sites/site-1/*/best.pt")
    path.write_bytes(path.read_bytes()[:-200])
    out = export_bundle(run, site="site-1", out=tmp_path / "shared", which="best")
    expected = torch.load(previous(path), weights_only=True)["model"]
    written = torch.load(out / "models" / "model.pt", weights_only=True)
    assert all(torch.equal(written[name], expected[name]) for name in expected)


def test_a_checkpoint_of_another_site_is_refused(run: Path, tmp_path: Path) -> None:
    (path,) = run.glob("sites/site-1/*/best.pt")
    for each in (path, previous(path)):
        save_tensors(each, {**load_tensors(each), "site": "site-2"})
    assert "expected the model of site-1" in exported(run, tmp_path / "shared")


def test_a_bundle_without_inference_configuration(federation: Path, tmp_path: Path) -> None:
    import shutil

    own = tmp_path / "own"
    shutil.copytree(shipped_folder("bundles") / "resnet10", own)
    run = finished_run(tmp_path / "own_run", federation, bundle=str(own))
    assert export_bundle(run, site="site-1", out=tmp_path / "works").is_dir()
    (own / "configs" / "inference.yaml").unlink()
    with pytest.raises(BundleError, match=r"inference\.yaml"):
        export_bundle(run, site="site-1", out=tmp_path / "shared")
    assert not (tmp_path / "shared").exists()


def test_the_command_writes_a_bundle_and_says_where(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "shared"
    done = CliRunner().invoke(export_bundle_command, [str(run), "--site", "site-1", "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert str(out) in done.output
    assert (out / "models" / "model.pt").is_file()


@pytest.mark.slow
def test_it_classifies_a_folder_of_images_where_mdhfl_cannot_be_imported(
    run: Path, federation: Path, tmp_path: Path
) -> None:
    edit_json(federation / "federation.json", arguments={**arguments_of(federation), "crop": ["0.7"]})
    out = export_bundle(run, site="site-1", out=tmp_path / "shared")
    images = tmp_path / "images"
    write_strange_images(images)
    arguments = ["--bundle_root", ".", "--input_dir", str(images), "--output_file", "predictions.csv"]
    done = run_without_mdhfl(out, *arguments)
    assert done.returncode == 0, done.stderr[-3000:]
    with (out / "predictions.csv").open(encoding="utf-8", newline="") as file:
        header, *rows = list(csv.reader(file))
    assert header == ["file", "class", *CLASSES]
    paths = sorted(path for path in images.rglob("*") if path.is_file() and path.suffix != ".txt")
    assert [row[0] for row in rows] == [path.relative_to(images).as_posix() for path in paths]
    said = np.array([[float(value) for value in row[2:]] for row in rows])
    assert [LABELS[row[1]] for row in rows] == said.argmax(axis=1).tolist()
    np.testing.assert_allclose(said, as_prepared(out, paths), atol=2e-5)


@pytest.mark.slow
def test_it_runs_from_any_folder(run: Path, tmp_path: Path) -> None:
    out = export_bundle(run, site="site-1", out=tmp_path / "shared")
    write_strange_images(tmp_path / "images")
    arguments = ["--bundle_root", str(out), "--input_dir", "images", "--output_file", "said.csv", "--crop", "200"]
    done = run_without_mdhfl(out, *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert len((tmp_path / "said.csv").read_text(encoding="utf-8").splitlines()) == 9


def as_prepared(bundle: Path, paths: list[Path]) -> np.ndarray:
    """Return what the model says of images that went through `mdhfl prepare`'s reading and cropping."""
    loaded = load_bundle(bundle, num_classes=3, image_size=32)
    load_weights(loaded.network, bundle / "models" / "model.pt", what="a test")
    pixels = np.stack([square(decode_rgb(path.read_bytes()), crop=0.7, size=32) for path in paths])
    with torch.inference_mode():
        batch = loaded.intensity_transform(torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy()))
        return loaded.network.eval()(batch).softmax(dim=1).numpy()


@pytest.mark.slow
def test_a_folder_without_images_is_told_in_one_line(run: Path, tmp_path: Path) -> None:
    out = export_bundle(run, site="site-1", out=tmp_path / "shared")
    (tmp_path / "empty").mkdir()
    done = run_without_mdhfl(out, "--bundle_root", ".", "--input_dir", str(tmp_path / "empty"))
    assert done.returncode == 1
    assert "no images in" in done.stderr
    assert "Traceback" not in done.stderr

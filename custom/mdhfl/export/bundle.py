"""A site's trained model as a MONAI bundle of its own: it runs with MONAI alone, where mdhfl is not installed."""

import json
import re
import shutil
import tempfile
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from mdhfl.export.card import licence_note, model_card
from mdhfl.export.facts import WHICH, Facts
from mdhfl.export.site_facts import gather_facts
from mdhfl.learning.bundle import TRAIN_CONFIG, BundleError, find_bundle, first_line, train_config
from mdhfl.learning.bundle_changes import changed_config
from mdhfl.learning.own_code import own_code
from mdhfl.learning.weights_file import load_weights
from mdhfl.showing.texts import shown, without_places

CONFIGS = (".yaml", ".yml", ".json", ".conf")
EVALUATED = "$@%"  # MONAI evaluates strings that begin so
INTENDED_USE = "Research only. Not a medical device: not for diagnosis, treatment or any decision about a patient."
# At least, by what every bundle of ours imports; fire by MONAI's command, which does not bring it along.
NEEDED = {"pytorch-ignite": "0.5.5", "fire": "0.6.0", "pillow": "12.0.0"}
SCHEMA = "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json"


def export_bundle(folder: Path, *, site: str | None = None, out: Path, which: str | None = None) -> Path:
    """Write a site's model as a MONAI bundle: its configurations, weights, class names, model card and licences.

    Args:
        folder: of a finished run, or a site's own folder of an experiment.
        site: one of the run's sites; None where the folder is a site's.
        out: the folder to write; it must not exist.
        which: "best" on the site's validation part, "last", or "alone"; None: see `gather_facts`.

    Returns:
        The folder.

    Raises:
        ValueError: unknown site, unfinished run, `out` exists, or a class name that a MONAI bundle cannot hold.
        BundleError: the site's bundle has no inference.yaml, or the weights do not fit it.
    """
    if which not in (None, *WHICH):
        raise ValueError(f"which: expected {' or '.join(WHICH)}, got {which!r}")
    if out.exists():
        raise ValueError(f"{out}: exists already; give another --out or delete it")
    facts = gather_facts(folder, site=site, which=which)
    _check_class_names(facts)
    bundle = find_bundle(facts.bundle)
    if not (bundle / "configs" / "inference.yaml").is_file():
        raise BundleError(
            f"bundle {bundle}: no configs/inference.yaml, so nobody could use the exported model; copy it and "
            "mdhfl_transforms.py from a built-in bundle, and put this bundle's network_def and intensity_transform "
            "into it"
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as work:
        draft = Path(work) / out.name
        _write_configs(draft, bundle, facts)
        _forget_places(draft / "configs")
        _write_weights(draft, facts)
        (draft / "docs").mkdir()
        (draft / "docs" / "README.md").write_text(model_card(facts, name=out.name), encoding="utf-8")
        (draft / "LICENSE").write_text(licence_note(facts), encoding="utf-8")
        draft.rename(out)
    return out


def _check_class_names(facts: Facts) -> None:
    wrong = [name for name in facts.classes if name[:1] in EVALUATED]
    if wrong:
        raise ValueError(
            f"class {wrong[0]!r}: MONAI evaluates names that begin with {', '.join(EVALUATED)}; prepare the federation "
            "with another name for it"
        )


def _write_configs(draft: Path, bundle: Path, facts: Facts) -> None:
    (draft / "configs").mkdir(parents=True)
    for path in sorted((bundle / "configs").iterdir()):
        if path.suffix in CONFIGS:
            shutil.copy(path, draft / "configs" / path.name)
    _copy_code(draft, bundle)
    values = {"num_classes": len(facts.classes), "image_size": facts.image_size}
    train = train_config(draft) or draft / TRAIN_CONFIG  # the copy of one that was loaded
    for path, own in (
        (train, {}),
        (draft / "configs" / "inference.yaml", {"prior": facts.prior, "scale": facts.scale, **facts.reading()}),
    ):
        path.write_text(_with_values(path, {**values, **own}), encoding="utf-8")
    if facts.bundle_changes:
        _change_training(train, facts.bundle_changes)
    path = draft / "configs" / "metadata.json"
    before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    said = _not_evaluated(shown(_metadata(before, facts, name=draft.name)))
    path.write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")


def _not_evaluated(value: Any) -> Any:
    """Return plain values with a space before each text that MONAI would evaluate."""
    if isinstance(value, Mapping):
        return {key: _not_evaluated(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_not_evaluated(each) for each in value]
    return f" {value}" if isinstance(value, str) and value.startswith(tuple(EVALUATED)) else value


def _forget_places(configs: Path) -> None:
    """Write the name alone where a configuration says an absolute path: it is of the machine that trained."""
    for path in sorted(configs.iterdir()):
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        path.write_text("".join(map(_without_places, lines)), encoding="utf-8")


def _without_places(line: str) -> str:
    """Return a line without absolute paths; an expression, whose texts may be parts of paths, stays as it is."""
    value, mark, comment = line.partition(" #")
    return (value if "$" in value or "@" in value else without_places(value)) + mark + without_places(comment)


def _copy_code(draft: Path, bundle: Path) -> None:
    """Copy what the configurations may import: the modules and packages beside `configs`, and `scripts`."""
    for path in sorted(bundle.glob("*.py")):
        shutil.copy(path, draft / path.name)
    packages = {path.parent for path in bundle.glob("*/__init__.py")}
    for folder in sorted({*packages, *bundle.glob("scripts")}):
        shutil.copytree(folder, draft / folder.name, ignore=shutil.ignore_patterns("__pycache__"))


def _with_values(path: Path, values: Mapping[str, Any]) -> str:
    """Return a configuration's text with other top-level values; YAML's comments stay."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".json":
        return json.dumps({**json.loads(text), **values}, indent=2) + "\n"
    for key, value in values.items():
        line = f"{key}: {json.dumps(value)}"
        text, found = re.subn(rf"(?m)^{key}:[^#\n]*?(?=\s*(#|$))", line, text, count=1)
        text = text if found else f"{text.rstrip()}\n{line}\n"
    return text


def _change_training(path: Path, changes: Mapping[str, Any]) -> None:
    """Let a training configuration say what was trained with; YAML's comments are lost."""
    import yaml

    config = changed_config(yaml.safe_load(path.read_text(encoding="utf-8")), changes)  # JSON is YAML
    text = json.dumps(config, indent=2) if path.suffix == ".json" else yaml.safe_dump(config, sort_keys=False)
    path.write_text(f"{text.rstrip()}\n", encoding="utf-8")


def _version_of(package: str, *, otherwise: str) -> str:
    """Return a package's version; what was asked for where it is not installed: a site only trains."""
    try:
        return version(package)
    except PackageNotFoundError:
        return otherwise


def _metadata(before: Mapping[str, Any], facts: Facts, *, name: str) -> dict[str, Any]:
    asked = {**NEEDED, **before.get("required_packages_version", {})}
    packages = {package: _version_of(package, otherwise=least) for package, least in asked.items()}
    return {
        **before,
        "schema": before.get("schema", SCHEMA),
        "version": "1.0.0",
        "changelog": {"1.0.0": f"the {facts.which} model of {facts.site}, round {facts.round}"},
        "monai_version": version("monai"),
        "pytorch_version": version("torch").partition("+")[0],
        "numpy_version": version("numpy"),
        "required_packages_version": packages,
        "name": name,
        "architecture": facts.architecture,
        "task": f"Classification of images into {len(facts.classes)} classes",
        "description": (
            f"{facts.architecture}, trained by {facts.site} with {facts.method} in federation {facts.federation}."
        ),
        "authors": before.get("authors", "not stated"),
        "copyright": "see LICENSE",
        "data_source": "; ".join(f"{source['title']} ({source['licence']})" for source in facts.sources),
        "pred_classes": ", ".join(facts.classes),
        "eval_metrics": {key: value for key, value in facts.scores.items() if value is not None},
        "intended_use": INTENDED_USE,
        "provenance": facts.provenance(),
        "network_data_format": _data_format(facts),
    }


def _data_format(facts: Facts) -> dict[str, Any]:
    tensor = {"dtype": "float32", "is_patch_data": False}
    image = {
        "type": "image",
        "format": "RGB",
        "modality": "microscopy",
        "num_channels": 3,
        "spatial_shape": [facts.image_size, facts.image_size],
        "value_range": [-1, 1],
        "channel_def": {"0": "red", "1": "green", "2": "blue"},
    }
    answer = {
        "type": "logits",
        "format": "classes",
        "num_channels": len(facts.classes),
        "spatial_shape": [],
        "value_range": [],
        "channel_def": {str(index): name for index, name in enumerate(facts.classes)},
    }
    return {"inputs": {"image": {**image, **tensor}}, "outputs": {"pred": {**answer, **tensor}}}


def _write_weights(draft: Path, facts: Facts) -> None:
    """Write the weights, and load them again as whoever gets the bundle will."""
    import torch
    from monai.bundle import ConfigParser

    model = draft / "models" / "model.pt"
    model.parent.mkdir()
    torch.save(dict(facts.model), model)
    parser = ConfigParser()
    try:
        with own_code(draft):
            parser.read_config(str(draft / "configs" / "inference.yaml"))
            network = parser.get_parsed_content("network_def")
    except Exception as error:  # a bundle is code: it raises what it likes
        raise BundleError(
            f"bundle {facts.bundle}: configs/inference.yaml: network_def cannot be built ({first_line(error)})"
        ) from error
    load_weights(network, model, what=f"bundle {facts.bundle}: configs/inference.yaml")

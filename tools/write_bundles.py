"""Write the built-in bundles: one template, and for each network a short definition file.

`tools/bundles/networks/<name>.yaml` defines the network of `bundles/<name>`; `tools/bundles/template` is what every
bundle gets, its `.j2` files filled in, and the decoder of `mdhfl prepare`, so that a bundle reads pictures as they were
read for its training, where mdhfl is not installed. Like a lock file: `make bundles` writes them, a test holds them to
it.
"""

from pathlib import Path

import yaml
from jinja2 import Environment, StrictUndefined

SOURCE = Path(__file__).resolve().parent / "bundles"
KEYS = ("architecture", "summary", "reference", "packages", "imports", "network_def")
FILLED_IN = ".j2"
PREPARING, IN_A_BUNDLE = "mdhfl.preprocessing.raw", "mdhfl_decoding"  # the decoder's package, here and there
DECODER = (
    "dicom", "limits", "nifti_volume", "notes", "opacity", "orientation", "pixels", "png", "reading", "scaling",
    "sizes", "tiff", "tiff_header",
)  # fmt: skip
ABOUT_DECODER = f'''"""The decoder of `mdhfl prepare`, copied from {PREPARING} by `make bundles`: change it there.

It may import NumPy and Pillow; where a file needs them, tifffile, nibabel and pydicom.
"""
'''


def write_bundles(folder: Path) -> None:
    """Write every bundle into a folder; files that are there and are no longer written stay.

    Raises:
        ValueError: a definition lacks a key or has another one.
    """
    for path in sorted((SOURCE / "networks").glob("*.yaml")):
        _write_bundle(folder / path.stem, network=read_network(path))


def read_network(path: Path) -> dict[str, object]:
    """Read the definition of a network.

    Returns:
        name: of its bundle, the file's; architecture: for people; summary: which class, in a phrase; reference: its
        paper; packages: name to version of what it needs besides MONAI; imports: of its expressions; network_def: YAML
        text, comments included.

    Raises:
        ValueError: a key is missing or unknown.
    """
    network = yaml.safe_load(path.read_text(encoding="utf-8"))
    found = sorted(network) if isinstance(network, dict) else network
    if found != sorted(KEYS):
        raise ValueError(f"{path}: expected the keys {', '.join(sorted(KEYS))}, got {found}; see the files beside it")
    return {**network, "name": path.stem, "network_def": network["network_def"].rstrip()}


def _write_bundle(bundle: Path, *, network: dict[str, object]) -> None:
    template = SOURCE / "template"
    for path in sorted(path for path in template.rglob("*.*") if path.is_file() and path.suffix != ".pyc"):
        text = path.read_text(encoding="utf-8")
        target = bundle / path.relative_to(template)
        if path.suffix == FILLED_IN:
            text, target = _fill_in(text, network), target.with_suffix("")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    _write_decoder(bundle / IN_A_BUNDLE)


def _write_decoder(folder: Path) -> None:
    """Copy the decoder's modules; only the package that they import each other from has another name."""
    folder.mkdir(exist_ok=True)
    (folder / "__init__.py").write_text(ABOUT_DECODER, encoding="utf-8")
    for name in DECODER:
        text = (SOURCE.parents[1] / "preprocessing" / "raw" / f"{name}.py").read_text(encoding="utf-8")
        (folder / f"{name}.py").write_text(text.replace(PREPARING, IN_A_BUNDLE), encoding="utf-8")


def _fill_in(text: str, network: dict[str, object]) -> str:
    environment = Environment(
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # YAML, JSON and Markdown
    )
    return environment.from_string(text).render(network)


if __name__ == "__main__":
    write_bundles(SOURCE.parents[1] / "bundles")

"""The wheel that sites install holds everything they need, under one name."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
def test_a_wheel_prepares_and_checks_without_the_checkout(tmp_path: Path) -> None:
    uv = Path(sys.executable).parent / "uv"
    if not uv.exists():
        pytest.skip("NO UV beside this Python: `make setup` installs it")
    source = tmp_path / "source"
    needed = ("bundles", "custom", "jobs", "meta", "preprocessing")
    for name in needed:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("LICENSE", "README.md", "pyproject.toml", "requirements.txt"):
        shutil.copy(ROOT / name, source / name)
    subprocess.run([uv, "build", "--wheel", "--quiet", "--out-dir", tmp_path / "dist", source], check=True)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.split("/")[0] for name in archive.namelist()}
        assert tops == {"mdhfl", wheel.name.split("-py3")[0] + ".dist-info"}  # no generic name at a site's top level
        archive.extractall(tmp_path / "site")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}

    def python(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments], env=environment, cwd=tmp_path, check=True, capture_output=True, text=True
        )
        return done.stdout

    assert str(tmp_path / "site") in python("-c", "import mdhfl; print(mdhfl.__file__)")
    assert str(tmp_path / "site") in python("-c", "import mdhfl.learning.bundle as b; print(b.find_bundle('resnet10'))")
    fed = ["-m", "mdhfl.commands.cli", "prepare", "synthetic", "--sites", "2", "--per-site", "12", "--image-size", "16"]
    python(*fed, "--public-count", "8", "--classes", "monocyte,eosinophil", "--out", "fed")
    assert "all is well" in python("-m", "mdhfl.commands.cli", "check", "fed")

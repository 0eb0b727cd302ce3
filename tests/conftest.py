"""Shared fixtures: real images where they exist, and a small federation made once a session."""

import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images beside the project, or a loud skip."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"NO REAL IMAGES: {folder} does not exist, so this test of real data did not run")
    return folder

"""What stands beside a progress bar is ours: no library's remark on what nobody asked for."""

import subprocess
import sys

import pytest

BUILD = """
from mdhfl.learning.model import Model
Model.open("shufflenet_v2", num_classes=3, image_size=32)
"""


@pytest.mark.slow
def test_building_a_network_says_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", BUILD], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

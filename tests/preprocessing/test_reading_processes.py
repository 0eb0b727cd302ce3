"""Processes that read pictures: what one of them may take is bounded, and one bad file costs one file."""

import sys

import numpy as np
import pytest
from click.testing import CliRunner
from fakes.bombs import measured
from fakes.raw_images import class_folders, write_files

from mdhfl.commands.prepare import prepare_command
from mdhfl.preprocessing.arguments import PrepareArguments
from mdhfl.preprocessing.prepare import prepare
from mdhfl.preprocessing.raw import file_source
from mdhfl.preprocessing.raw.reading import decode_rgb

GREEDY = "a/0007.png"


@pytest.fixture
def raw(tmp_path):
    return write_files(tmp_path / "raw", class_folders({"a": 30, "b": 30}, top="."))


def skipped(folder):
    text = (folder / "sites" / "site-1" / "card.json").read_text()
    return "too large: it needs more memory than a process that reads pictures may take" in text


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux bounds a process's memory")
@pytest.mark.parametrize("workers", [1, 2])
def test_a_picture_that_takes_more_than_expected_is_left_out_alone(tmp_path, raw, monkeypatch, workers):
    greedy = (raw / GREEDY).read_bytes()

    def decode(data, *, limits, scaling):
        if data == greedy:
            np.ones(3 << 30, dtype=np.uint8)
        return decode_rgb(data, limits=limits, scaling=scaling)

    monkeypatch.setattr(file_source, "decode_rgb", decode)  # the processes are copies of this one
    done = prepare(PrepareArguments("folder", out=tmp_path / "fed", raw=raw, sites=2, image_size=8), workers=workers)
    assert done.federation["skipped"] == 1
    assert skipped(tmp_path / "fed")
    assert len(np.ones(1 << 20)) == 1 << 20  # this process is not bounded


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux bounds a process's memory")
def test_the_bound_is_kept_by_the_system():
    grown, said = measured(
        "limit_memory(100 << 20) or len(bytes(1 << 20) + bytes(2 << 30))",
        imports="from mdhfl.preprocessing.pool.memory import limit_memory",
    )
    assert said == "MemoryError:"
    assert grown < 110


def test_limits_are_options_and_are_recorded_where_they_were_changed(tmp_path, raw):
    def run(*options):
        arguments = ["folder", "--raw", str(raw), "--out", str(tmp_path / "fed"), "--sites", "2", "--image-size", "8"]
        return CliRunner().invoke(prepare_command, [*arguments, *options])

    refused = run("--max-pixels", "479")
    assert isinstance(refused.exception, ValueError)
    assert "60 of 60 images cannot be read" in str(refused.exception)
    assert "too large: the limit is 479 pixels, got 480; raise it with --max-pixels" in str(refused.exception)
    assert "limit is 59 files, got 60; raise it with --max-files" in str(run("--max-files", "59").exception)
    assert "max_unpacked=0: expected a value from 1" in str(run("--max-unpacked", "0").exception)
    assert run().exit_code == 0
    assert '"max_pixels"' not in (tmp_path / "fed" / "federation.json").read_text()
    assert "max_pixels was None, now 480" in str(run("--max-pixels", "480").exception)
    assert run("--max-pixels", "480", "--overwrite").exit_code == 0
    assert '"max_pixels":480' in (tmp_path / "fed" / "federation.json").read_text().replace(" ", "")

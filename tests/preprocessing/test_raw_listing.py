"""What lies in raw data beside pictures: pipes, devices, links, endless folders; and what listing it costs."""

import os
import socket
import stat
import threading
import time
import zipfile
from pathlib import Path

import pytest
from fakes.raw_images import png, write_files, write_zip

from mdhfl.preprocessing.arguments import PrepareArguments
from mdhfl.preprocessing.prepare import prepare
from mdhfl.preprocessing.raw.archive import fingerprint, open_files
from mdhfl.preprocessing.raw.limits import MAX_DEPTH, Limits
from mdhfl.preprocessing.raw.records import SourceOptions, UnreadableImageError
from mdhfl.preprocessing.sources import find_source

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no named pipes")


@pytest.fixture(autouse=True)
def no_waiting(tmp_path):
    """Open every pipe for writing after some seconds: who waits for one is set free, and fails by its time."""
    started = time.monotonic()
    timer = threading.Timer(10, _free, [tmp_path])
    timer.start()
    yield
    timer.cancel()
    assert time.monotonic() - started < 9, "waited for a pipe"


def _free(top: Path) -> None:
    for path in top.rglob("*"):
        if stat.S_ISFIFO(path.lstat().st_mode):
            os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))


def odd_folder(top: Path) -> Path:
    raw = write_files(top, {"a/1.png": png(1), "b/2.png": png(2)})
    os.mkfifo(raw / "a" / "pipe.png")
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(raw / "a")  # a socket's path must be short
        listener.bind("socket.png")
        os.chdir(here)
    (raw / "a" / "null.png").symlink_to("/dev/zero")
    (raw / "b" / "up").symlink_to("..")
    (raw / "b" / "gone.png").symlink_to("nowhere")
    os.link(raw / "a" / "1.png", raw / "b" / "hard.png")
    return raw


def test_what_is_no_regular_file_is_named_and_never_opened(tmp_path):
    files = open_files(odd_folder(tmp_path / "raw"))
    assert files.names == ["a/1.png", "b/2.png", "b/hard.png"]
    assert {skip.file: skip.reason for skip in files.skipped} == {
        "a/null.png": "a symbolic link: not followed",
        "a/pipe.png": "a named pipe: not opened",
        "a/socket.png": "a socket: not opened",
        "b/gone.png": "a symbolic link: not followed",
        "b/up": "a symbolic link: not followed",
    }


def test_a_federation_is_prepared_beside_a_pipe_and_says_what_was_left_out(tmp_path):
    files = {f"{name}/{i}.png": png(10 * i + place) for place, name in enumerate("ab") for i in range(30)}
    raw = write_files(tmp_path / "raw", files)
    os.mkfifo(raw / "a" / "pipe.png")
    done = prepare(PrepareArguments("folder", out=tmp_path / "fed", raw=raw, sites=2, image_size=8), workers=1)
    assert done.federation["skipped"] == 1
    assert "a named pipe: not opened" in (tmp_path / "fed" / "sites" / "site-1" / "card.json").read_text()


def test_a_file_that_becomes_a_pipe_after_the_listing_is_not_waited_for(tmp_path):
    raw = write_files(tmp_path / "raw", {"a/1.png": png(1)})
    files = open_files(raw)
    (raw / "a" / "1.png").unlink()
    os.mkfifo(raw / "a" / "1.png")
    with pytest.raises(UnreadableImageError, match="a named pipe, not a regular file"):
        files.read("a/1.png")


@pytest.mark.parametrize("source", ["folder", "manifest", "medmnist", "nifti"])
def test_raw_data_and_labels_that_are_pipes_or_devices_are_refused(tmp_path, source):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    for path, kind in (
        (tmp_path / "pipe", "a named pipe"),
        (tmp_path / "link", "a named pipe"),
        ("/dev/zero", "a device"),
    ):
        with pytest.raises(ValueError, match=f"got {kind}, which is never opened"):
            find_source(source).open(Path(path), options=SourceOptions())
        with pytest.raises(ValueError, match=f"got {kind}, which is never opened"):
            fingerprint(Path(path))
    if source in ("manifest", "nifti"):
        raw = write_files(tmp_path / "raw", {"a/1.png": png(1)})
        opened = find_source(source).open(raw, options=SourceOptions(labels=tmp_path / "pipe"))
        with pytest.raises(ValueError, match=r"labels .*a named pipe"):
            opened.records()


@pytest.mark.parametrize("mode", [stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK, stat.S_IFLNK])
def test_special_members_of_a_zip_are_named(tmp_path, mode):
    with zipfile.ZipFile(tmp_path / "raw.zip", "w") as archive:
        archive.writestr("a/1.png", png(1))
        odd = zipfile.ZipInfo("a/odd.png")
        odd.external_attr = (mode | 0o644) << 16
        archive.writestr(odd, b"")
    files = open_files(tmp_path / "raw.zip")
    assert files.names == ["a/1.png"]
    assert [skip.file for skip in files.skipped] == ["a/odd.png"]
    assert "not opened" in files.skipped[0].reason or "not followed" in files.skipped[0].reason


@pytest.mark.parametrize("packed", [False, True])
def test_folders_within_folders_have_an_end(tmp_path, packed):
    deepest = "d/" * MAX_DEPTH + "1.png"
    beyond = "e/" * (MAX_DEPTH + 1) + "2.png"
    far = "f/" * 1_500 + "3.png" if packed else "f/" * 300 + "3.png"
    files = {"a/1.png": png(1), deepest: png(2), beyond: png(3), far: png(4)}
    raw = write_zip(tmp_path / "raw.zip", files) if packed else write_files(tmp_path / "raw", files)
    opened = open_files(raw)
    assert opened.names == sorted(["a/1.png", deepest])
    assert [skip.file[:2] for skip in opened.skipped] == ["e/", "f/"]
    assert all("more than 32 folders deep" in skip.reason for skip in opened.skipped)


def test_a_folder_with_too_many_files_is_refused(tmp_path):
    raw = write_files(tmp_path / "raw", {f"a/{i}.png": b"" for i in range(6)})
    assert len(open_files(raw, limits=Limits(max_files=6)).names) == 6
    with pytest.raises(ValueError, match=r"too large: the limit is 5 files, got 6; raise it with --max-files"):
        open_files(raw, limits=Limits(max_files=5))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may list every folder")
def test_a_folder_that_cannot_be_listed_is_named(tmp_path):
    raw = write_files(tmp_path / "raw", {"a/1.png": png(1), "b/2.png": png(2)})
    (raw / "b").chmod(0)
    assert [skip.file for skip in open_files(raw).skipped] == ["b/"]
    (raw / "b").chmod(0o700)


@pytest.mark.parametrize("kind", ["empty folders", "files"])
def test_listing_takes_time_in_proportion_to_what_is_listed(tmp_path, kind):
    def seconds(number: int) -> float:
        path = tmp_path / f"{number}.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for index in range(number):
                archive.writestr(f"{index}/" if kind == "empty folders" else f"{index}/x.png", b"")
        times = []
        for _ in range(3):
            started = time.process_time()
            open_files(path).close()
            times.append(time.process_time() - started)
        return min(times)

    assert seconds(16_000) < 24 * seconds(2_000)  # linear: 8; each against all: 64


def test_an_empty_folder_is_one_that_nothing_lies_in(tmp_path):
    with zipfile.ZipFile(tmp_path / "raw.zip", "w") as archive:
        for name in ("a/", "a/b/", "a/b/1.png", "c/", "c/d/", "e/f/g/", "__MACOSX/"):
            archive.writestr(name, b"")
    assert [skip.file for skip in open_files(tmp_path / "raw.zip").skipped] == ["c/d/", "e/f/g/"]


def test_names_that_are_no_text_do_no_harm(tmp_path):
    raw = write_files(tmp_path / "raw", {"a/1.png": png(1)})
    (raw / "a" / os.fsdecode(b"\xff\xfe.png")).write_bytes(png(2))
    assert len(fingerprint(raw)) == 32
    assert len(open_files(raw).names) == 2

"""Shared fixtures: real images where they exist, and a small federation made once a session."""

import os
import resource
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

# Files that start FLARE and take minutes. Each tuple's run in one process, one after another: POC mode's servers and
# sites are watched as processes of this machine, and simulators that start at once would all import PyTorch at once.
FLARE = (
    ("test_flare",),
    ("test_deploy", "test_faults", "test_poc", "test_poc_command", "test_poc_trust", "test_readme", "test_rehearsal"),
    ("test_benchmarks", "test_public", "test_run_command", "test_run_interrupted", "test_trust"),
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep a file's tests in one process, and those of `FLARE` in one each, begun first: they take longest."""
    groups = {stem: stems[0] for stems in FLARE for stem in stems}
    for item in items:
        item.add_marker(pytest.mark.xdist_group(groups.get(item.path.stem, item.path.stem)))
    items.sort(key=lambda item: item.path.stem not in groups)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images beside the project, or a loud skip."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"NO REAL IMAGES: {folder} does not exist, so this test of real data did not run")
    return folder


@pytest.fixture(scope="session")
def browser() -> str:
    """The path of a browser, or a loud skip."""
    from fakes.browser import BROWSERS

    for name in BROWSERS:
        if path := shutil.which(name):
            return path
    pytest.skip(f"NO BROWSER: none of {', '.join(BROWSERS)} is on PATH, so no page was opened in a real one")


@pytest.fixture(scope="session")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sites, three classes, 24 training images each, 32 px. Tests must not change it: copy it first."""
    from fakes.small_federation import write_federation

    return write_federation(tmp_path_factory.mktemp("small") / "fed")


@pytest.fixture(scope="session")
def three_sites(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three sites, and a validation part at the server. Tests must not change it."""
    from fakes.small_federation import write_federation

    sites = ("site-1", "site-2", "site-3")
    return write_federation(tmp_path_factory.mktemp("three") / "fed", sites=sites, training=20, server=12)


class SmallFiles:
    """Makes every write beyond a size fail, as on a full disk."""

    @contextmanager
    def __call__(self, size: int) -> Iterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def small_files_only() -> SmallFiles:
    """A context manager: `with small_files_only(bytes)`; the kernel enforces it."""
    return SmallFiles()


@pytest.fixture
def heeds_ctrl_c() -> Iterator[None]:
    """Let Ctrl-C interrupt: what a shell starts in the background ignores SIGINT, and so do its children."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)

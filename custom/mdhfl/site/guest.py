"""A site is a guest in its process: what of torch's state, common to all who share the process, it uses and leaves."""

from collections.abc import Iterator
from contextlib import contextmanager


def use_threads(count: int) -> None:
    """Let torch compute with so many CPU threads."""
    import torch

    if torch.get_num_threads() != count:
        torch.set_num_threads(count)


@contextmanager
def own_random_numbers() -> Iterator[None]:
    """Leave torch's global generator as it was."""
    import torch

    with torch.random.fork_rng(devices=[]):
        yield

"""The device that settings name: whether it is there, found before anything is put on it, and a network on it."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


def why_missing(device: str) -> str:
    """Return why PyTorch cannot use a device, with the way out, in one line; empty if it can.

    Args:
        device: "cpu", "cuda" or "cuda:<n>".
    """
    if device == "cpu":
        return ""
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not count:
        return (
            f"device {device!r}: PyTorch {torch.__version__} finds no GPU on this machine (nvidia-smi shows whether "
            "there is one with a driver, and PyTorch must be built for it); choose cpu instead"
        )
    number = int(device.partition(":")[2] or 0)
    there = "cuda:0" if count == 1 else f"cuda:0 to cuda:{count - 1}"
    return "" if number < count else f"device {device!r}: this machine has {there}; choose one of these, or cpu"


def check_device(device: str) -> None:
    """Raise ValueError where PyTorch cannot use a device."""
    if why := why_missing(device):
        raise ValueError(why)


def put_on(network: "nn.Module", device: str) -> None:
    """Put a network on a device, in channels_last; on a GPU its convolutions then give the same numbers each time."""
    import torch

    if device != "cpu":
        torch.backends.cudnn.deterministic = True
    network.to(device).to(memory_format=torch.channels_last)

"""How much raw data may take, so that no file can exhaust a machine. Checked before memory is taken."""

from dataclasses import dataclass

GIB = 1 << 30
MAX_DEPTH = 32  # folders within each other
MAX_CLASSES = 1000
MAX_CLASS_NAME = 200  # characters
MAX_TABLE = 128 << 20  # bytes of a table of labels, unpacked
MAX_ROW = 1 << 20  # characters of one of its rows
MAX_NAMES = 256 << 20  # bytes of a zip's list of members
SAMPLE_BYTES = 8  # of a pixel: red, green, blue and opacity of 16 bits each
WORKING_BYTES = 32  # of a pixel: the file, its samples, and what turning them into RGB takes meanwhile
SPARE = GIB // 2  # for a process's own needs


@dataclass(frozen=True)
class Limits:
    """What a user may raise; each field is an option of `mdhfl prepare`.

    Attributes:
        max_pixels: width times height of one picture, or of one slice of a volume.
        max_unpacked: GiB that an archive, or a packed volume, may take when unpacked.
        max_files: files below a folder, members of a zip, pictures of a dataset.
    """

    max_pixels: int = 50_000_000
    max_unpacked: int = 64
    max_files: int = 1_000_000

    @property
    def samples(self) -> int:
        """Bytes of one decoded picture, before it becomes RGB."""
        return SAMPLE_BYTES * self.max_pixels

    @property
    def file(self) -> int:
        """Bytes of one file that is read whole, unpacked."""
        return self.samples + (16 << 20)

    @property
    def memory(self) -> int:
        """Bytes that a process may take to read pictures, one after another."""
        return WORKING_BYTES * self.max_pixels + SPARE

    @property
    def unpacked(self) -> int:
        """Bytes of an archive, unpacked."""
        return self.max_unpacked * GIB


DEFAULTS = Limits()


def too_large(got: int, *, limit: int, unit: str, option: str = "") -> str:
    """Say that something is too large.

    Args:
        got: what it has, in units.
        limit: what it may have, in units.
        unit: what is counted, for example "pixels".
        option: what raises the limit; "": nothing does.
    """
    way_out = f"; raise it with {option} if the file is honest" if option else ""
    return f"too large: the limit is {limit:,} {unit}, got {got:,}{way_out}"

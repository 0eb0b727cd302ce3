"""Read, crop and resize pictures of a source in parallel; what cannot be read is told with its reason."""

import io
import multiprocessing
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from mdhfl.digests import image_digest
from mdhfl.preprocessing.inputs import RawInput
from mdhfl.preprocessing.pool.candidates import Candidate
from mdhfl.preprocessing.pool.likeness import likeness_of
from mdhfl.preprocessing.pool.memory import limit_memory
from mdhfl.preprocessing.raw.cropping import square
from mdhfl.preprocessing.raw.notes import listening
from mdhfl.preprocessing.raw.records import OpenSource, Pixels, Record, UnreadableImageError
from mdhfl.preprocessing.raw.sizes import out_of_memory
from mdhfl.preprocessing.raw.understood import traits_of

Progress = Callable[[str, int, int], None]  # stage, done, total
CHUNK = 64  # pictures per task: small enough for a smooth bar, large enough to hide the hand-over


@dataclass(frozen=True)
class Picture:
    """One finished image, not yet placed.

    Attributes:
        candidate: what it was listed as.
        digest: of its pixels.
        likeness: its perceptual hash; empty where none was asked for.
        packed: the file that holds its PNG for now, among others.
        start: first byte of its PNG.
        length: bytes of its PNG.
        notes: what reading did to it beyond unpacking, for example to its depth or orientation.
    """

    candidate: Candidate
    digest: str
    likeness: bytes
    packed: Path
    start: int
    length: int
    notes: tuple[str, ...] = ()

    def write(self, path: Path) -> None:
        """Write its PNG to a file of its own."""
        path.write_bytes(self.png())

    def png(self) -> bytes:
        """Its PNG."""
        with self.packed.open("rb") as packed:
            packed.seek(self.start)
            return packed.read(self.length)


@dataclass(frozen=True)
class _Task:
    raw_input: RawInput
    records: tuple[Record, ...]
    packed: Path
    likeness: bool


@dataclass(frozen=True)
class _Packed:
    """A finished image in a task's file."""

    digest: str
    likeness: bytes
    start: int
    length: int
    notes: tuple[str, ...]


_Outcomes = list[_Packed | str]  # of a task's records, in their order; a text says why one is unreadable
_Done = tuple[Path, _Outcomes, Counter[tuple[str, str]]]

COMPRESSION = 1  # of zlib: a third of the default's time, a few per cent more bytes

_opened: dict[RawInput, OpenSource] = {}  # of this process: an archive is opened once in each worker


@dataclass(frozen=True)
class ReadPictures:
    """What came of some candidates.

    Attributes:
        outcomes: in the candidates' order; a text says why one is unreadable.
        traits: (kind of trait, value) -> pictures, for example ("pixels", "64 x 64") -> 12.
    """

    outcomes: list[Picture | str]
    traits: Counter[tuple[str, str]]


def read_pictures(
    raw_input: RawInput,
    candidates: Sequence[Candidate],
    *,
    folder: Path,
    likeness: bool,
    workers: int | None,
    done: Callable[[int], None],
) -> ReadPictures:
    """Make each readable candidate a square PNG.

    The PNGs of a task lie in one file until it is known which are wanted: making a file costs more than an image.

    Args:
        candidates: of this input.
        folder: where the packed PNGs go.
        likeness: also make each picture's perceptual hash.
        workers: processes; None: one per core.
        done: called with the number of candidates that were done since the last call.
    """
    tasks = [
        _Task(
            raw_input,
            tuple(one.record for one in candidates[start : start + CHUNK]),
            folder / f"{start:08}.pngs",
            likeness,
        )
        for start in range(0, len(candidates), CHUNK)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    results: dict[Path, _Outcomes] = {}
    traits: Counter[tuple[str, str]] = Counter()
    for packed, outcomes, seen in _run(tasks, workers=workers):
        results[packed] = outcomes
        traits.update(seen)
        done(len(outcomes))
    found: list[Picture | str] = []
    for index, candidate in enumerate(candidates):
        packed = tasks[index // CHUNK].packed
        one = results[packed][index % CHUNK]
        found.append(one if isinstance(one, str) else _picture(candidate, packed=packed, place=one))
    return ReadPictures(found, traits)


def worker_count(workers: int | None, *, tasks: int) -> int:
    """Processes to use: never more than tasks; by default one for each core this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores if workers is None else workers, tasks))


def _run(tasks: list[_Task], *, workers: int | None) -> Iterator[_Done]:
    """Do the tasks in processes of their own, also where it is one: what they may take is bounded."""
    if not tasks:
        return
    raw_input = tasks[0].raw_input
    memory = None if raw_input.raw is None else raw_input.options.limits.memory  # what is drawn comes from no file
    kind = "fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn"
    executor = ProcessPoolExecutor(
        worker_count(workers, tasks=len(tasks)),
        mp_context=multiprocessing.get_context(kind),
        initializer=_begin,
        initargs=(memory,),
    )
    try:
        for future in as_completed([executor.submit(_finish, task) for task in tasks]):
            yield future.result()
    except BrokenProcessPool as error:
        raise ValueError(
            "a process that reads images was killed, probably for lack of memory; try --workers 1, or a smaller "
            "--max-pixels"
        ) from error
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def _finish(task: _Task) -> _Done:
    if task.raw_input not in _opened:
        _opened[task.raw_input] = task.raw_input.open()
    source = _opened[task.raw_input]
    outcomes: _Outcomes = []
    traits: Counter[tuple[str, str]] = Counter()
    with task.packed.open("wb") as packed:
        for record in task.records:
            try:
                with listening() as notes:
                    whole = source.read(record)
                pixels = square(whole, crop=task.raw_input.crop, size=task.raw_input.size)
            except UnreadableImageError as error:
                outcomes.append(str(error))  # the error itself would keep the file's bytes
                continue
            except MemoryError:
                outcomes.append(str(out_of_memory()))
                continue
            traits.update({"pixels": f"{whole.shape[1]} x {whole.shape[0]}", **traits_of(source)}.items())
            start, data = packed.tell(), _png(pixels)
            packed.write(data)
            likeness, noted = likeness_of(pixels) if task.likeness else b"", tuple(dict.fromkeys(notes))
            place = _Packed(image_digest(pixels), likeness=likeness, start=start, length=len(data), notes=noted)
            outcomes.append(place)
    return task.packed, outcomes, traits


def _png(pixels: Pixels) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=COMPRESSION)
    return buffer.getvalue()


def _picture(candidate: Candidate, *, packed: Path, place: _Packed) -> Picture:
    return Picture(
        candidate,
        place.digest,
        likeness=place.likeness,
        packed=packed,
        start=place.start,
        length=place.length,
        notes=place.notes,
    )


def _begin(memory: int | None) -> None:
    """Make this process ready: Ctrl-C is for the one that started it and ends it; memory, in bytes, is bounded."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if memory is not None:
        limit_memory(memory)

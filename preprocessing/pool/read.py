"""Read, crop and resize every picture of a source in parallel; what cannot be read is listed with its reason."""

import io
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from mdhfl.digests import image_digest
from mdhfl.preprocessing.inputs import RawInput
from mdhfl.preprocessing.pool.memory import limit_memory
from mdhfl.preprocessing.raw.cropping import square
from mdhfl.preprocessing.raw.notes import listening
from mdhfl.preprocessing.raw.records import OpenSource, Pixels, Record, Skip, UnreadableImageError
from mdhfl.preprocessing.raw.sizes import out_of_memory

Progress = Callable[[str, int, int], None]  # stage, done, total
CHUNK = 64  # pictures per task: small enough for a smooth bar, large enough to hide the hand-over


@dataclass(frozen=True)
class Picture:
    """One finished image, not yet placed.

    Attributes:
        input: name of the raw input that it came from.
        origin: the same, or the record's own finer origin.
        label: index of its class; None: unlabelled (public).
        digest: of its pixels.
        packed: the file that holds its PNG for now, among others.
        start: first byte of its PNG.
        length: bytes of its PNG.
        notes: what reading did to it beyond unpacking, for example to its depth or orientation.
    """

    record: Record
    source: str
    input: str
    origin: str
    label: int | None
    digest: str
    packed: Path
    start: int
    length: int
    notes: tuple[str, ...] = ()

    def write(self, path: Path) -> None:
        """Write its PNG to a file of its own."""
        with self.packed.open("rb") as packed:
            packed.seek(self.start)
            path.write_bytes(packed.read(self.length))


@dataclass(frozen=True)
class _Task:
    raw_input: RawInput
    records: tuple[Record, ...]
    packed: Path


@dataclass(frozen=True)
class _Packed:
    """A finished image in a task's file."""

    digest: str
    start: int
    length: int
    notes: tuple[str, ...]


_Outcomes = list[_Packed | str]  # of a task's records, in their order; a text says why one is unreadable

COMPRESSION = 1  # of zlib: a third of the default's time, a few per cent more bytes

_opened: dict[RawInput, OpenSource] = {}  # of this process: an archive is opened once in each worker


def read_pictures(
    raw_input: RawInput,
    records: Sequence[Record],
    *,
    labels: Sequence[int | None],
    folder: Path,
    workers: int | None,
    progress: Progress | None,
    stage: str,
) -> tuple[list[Picture], list[Skip]]:
    """Make each readable record a square PNG.

    The PNGs of a task lie in one file until it is known which are wanted: making a file costs more than an image.

    Args:
        records: of this input.
        labels: class of each record.
        folder: where the packed PNGs go.
        workers: processes; None: one per core.
        progress: called with the stage, images done, images in all.

    Returns:
        The pictures in the records' order, and the unreadable ones with reasons.
    """
    tasks = [
        _Task(raw_input, tuple(records[start : start + CHUNK]), folder / f"{start:08}.pngs")
        for start in range(0, len(records), CHUNK)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    results: dict[Path, _Outcomes] = {}
    done = 0
    for packed, outcomes in _run(tasks, workers=workers):
        results[packed] = outcomes
        done += len(outcomes)
        if progress is not None:
            progress(stage, done, len(records))
    pictures, skips = [], []
    for index, (record, label) in enumerate(zip(records, labels, strict=True)):
        packed = tasks[index // CHUNK].packed
        one = results[packed][index % CHUNK]
        if isinstance(one, str):
            skips.append(Skip(record.key, one))
        else:
            pictures.append(_picture(raw_input, record, label=label, packed=packed, place=one))
    return pictures, skips


def worker_count(workers: int | None, *, tasks: int) -> int:
    """Processes to use: never more than tasks; by default one for each core this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores if workers is None else workers, tasks))


def _run(tasks: list[_Task], *, workers: int | None) -> Iterator[tuple[Path, _Outcomes]]:
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


def _finish(task: _Task) -> tuple[Path, _Outcomes]:
    if task.raw_input not in _opened:
        _opened[task.raw_input] = task.raw_input.open()
    source = _opened[task.raw_input]
    outcomes: _Outcomes = []
    with task.packed.open("wb") as packed:
        for record in task.records:
            try:
                with listening() as notes:
                    pixels = square(source.read(record), crop=task.raw_input.crop, size=task.raw_input.size)
            except UnreadableImageError as error:
                outcomes.append(str(error))  # the error itself would keep the file's bytes
                continue
            except MemoryError:
                outcomes.append(str(out_of_memory()))
                continue
            start, data = packed.tell(), _png(pixels)
            packed.write(data)
            outcomes.append(
                _Packed(image_digest(pixels), start=start, length=len(data), notes=tuple(dict.fromkeys(notes)))
            )
    return task.packed, outcomes


def _png(pixels: Pixels) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=COMPRESSION)
    return buffer.getvalue()


def _picture(raw_input: RawInput, record: Record, *, label: int | None, packed: Path, place: _Packed) -> Picture:
    return Picture(
        record=record,
        source=raw_input.source,
        input=raw_input.origin,
        origin=record.origin or raw_input.origin,
        label=label,
        digest=place.digest,
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

"""A site's folder of an experiment as the report reads it: what that site knows, and what left it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mdhfl.reports.runs import Row, Run, name_of, read_report_run
from mdhfl.server.rows import row_of, summary_of
from mdhfl.showing.texts import shown
from mdhfl.site.history import HISTORY, Part, read_part
from mdhfl.site.left import left_in, sums_of

OWN_STATE = "its own state"  # in the engine's place: a site does not know who else takes part, or how


def is_site_folder(folder: Path) -> bool:
    """Return whether a folder is a site's: of one experiment, or its state, which holds several."""
    return (folder / HISTORY).is_file() or any(folder.glob(f"*/{HISTORY}"))


def read_any_run(folder: Path) -> Run:
    """Read a run folder, the results of a job, or a site's folder of an experiment. Raises as those that read them."""
    return read_site_run(folder) if is_site_folder(folder) else read_report_run(folder)


def read_site_run(folder: Path) -> Run:
    """Read a site's part in an experiment as a run of that site alone.

    Args:
        folder: the experiment's, in the site's state folder.

    Raises:
        ValueError: it holds nothing that can be read.
    """
    part = read_part(folder)
    left = left_in(folder)
    experiment = _record(part)
    rows = shown(rows_of_part(part, left=left), roots=(folder, part.data))
    summary = summary_of(
        rows, experiment=experiment, sites=[part.site], last_round=part.last_round if part.finished else -1
    )
    return Run(
        folder=folder,
        place=name_of(folder),
        federation=str(part.data),
        federation_place=name_of(part.data),
        experiment=shown(experiment, roots=(folder, part.data)),
        rows=tuple(rows),
        summary=shown(summary),
        finished=part.finished,
        notes=tuple(_notes(part)),
        own=True,
        left=tuple(sums_of(left)),
    )


def rows_of_part(part: Part, *, left: Sequence[Mapping[str, Any]] = ()) -> list[Row]:
    """Return a site's answers as rows like those of results.jsonl, with all scores that the site has.

    Args:
        part: the site's.
        left: lines of its left.jsonl, from which the bytes that went up are counted.
    """
    sent: Counter[int] = Counter()
    for line in left:
        sent[line["round"]] += line["bytes"]
    rows: list[Row] = []
    for answer in sorted(part.answers, key=lambda answer: answer.round):
        row = row_of(answer, divergences=None, down=part.received.get(answer.round, 0))
        if "bytes" in row:
            row["bytes"]["up"] = sent[answer.round]
        rows.append(row)
    return rows


def _record(part: Part) -> dict[str, Any]:
    return {
        "version": 1,
        "id": part.experiment,
        "method": part.method,
        "parameters": dict(part.parameters),
        "bundle_changes": dict(part.bundle_changes),
        "engine": OWN_STATE,
        "rounds": part.last_round,
        "seed": part.seed,
        "classes": list(part.classes),
        "sites": {part.site: {"bundle": part.bundle, "bundle_digest": part.bundle_digest}},
        "public": {"digest": part.public_digest},
        "command": f"experiment {part.experiment}, begun by the server",
    }


def _notes(part: Part) -> list[str]:
    notes = []
    if not part.finished:
        notes.append(f"the server has not ended this experiment; the site's last round is {part.last_round}.")
    if part.damaged:
        notes.append(f"{part.damaged} lines of {HISTORY} cannot be read; they are left out.")
    return notes

"""Is a run in FLARE's simulator the in-process run? `python -m experiments.same_in_flare runs/a --out runs/a-flare`

Repeats a finished in-process run in the simulator, one process a site, and compares every number that does not depend
on the clock, and the last knowledge of every site bit for bit.
"""

import shutil
from pathlib import Path
from typing import Any

import click
import numpy as np

from mdhfl.files import read_json, write_json
from mdhfl.flare.simulator import simulate
from mdhfl.runs.folder import read_run, server_settings_path, site_settings_path, write_record
from mdhfl.server.journal import read_rows
from mdhfl.server.results import Results
from mdhfl.sharing.packing import pack
from mdhfl.sharing.records import Shared

CLOCK = ("seconds", "bytes")


def repeat_in_flare(run: Path, out: Path) -> None:
    """Copy a run's question, not its answers, into a new folder and run it in the simulator."""
    experiment, record = read_run(run)
    out.mkdir(parents=True)
    write_record(out, {**record, "engine": "flare"})
    for site in experiment.sites:
        settings = read_json(site_settings_path(run, site))
        path = site_settings_path(out, site)
        write_json(path, {**settings, "state": str(path.parent.resolve())})
    if server_settings_path(run).is_file():
        shutil.copy(server_settings_path(run), server_settings_path(out))
    simulate(out)


def differences(one: Path, other: Path) -> list[str]:
    """Return what differs between two runs of one experiment."""
    rows, others = _rows(one), _rows(other)
    found = [f"round {key[0]}, {key[1]}" for key in rows.keys() | others.keys() if rows.get(key) != others.get(key)]
    last, last_other = (Results(f, experiment=read_run(f)[0]).resume() for f in (one, other))
    if last is None or last_other is None:
        return [*found, "a run without a recorded round"]
    for site, shared in last.shared.items():
        other_shared = last_other.shared.get(site)
        if other_shared is None or not _equal(shared, other_shared):
            found.append(f"what {site} shared")
    return sorted(found)


def _equal(one: Shared, other: Shared) -> bool:
    """Whether two sites shared the same, to the last bit."""
    (text, arrays), (other_text, others) = pack(one.to_wire()), pack(other.to_wire())
    return text == other_text and all(map(np.array_equal, arrays, others))


def _rows(folder: Path) -> dict[tuple[int, str], dict[str, Any]]:
    rows = read_rows(folder / "results.jsonl")
    return {(row["round"], row["site"]): {k: v for k, v in row.items() if k not in CLOCK} for row in rows}


@click.command()
@click.argument("run", type=click.Path(path_type=Path, exists=True))
@click.option("--out", type=click.Path(path_type=Path), required=True)
def main(run: Path, out: Path) -> None:
    """Repeat a finished in-process RUN in FLARE's simulator and compare."""
    if out.exists():
        shutil.rmtree(out)
    repeat_in_flare(run, out)
    found = differences(run, out)
    rows = len(read_rows(run / "results.jsonl"))
    click.echo(f"{rows} rows compared: " + ("equal, bit for bit" if not found else "different: " + "; ".join(found)))
    raise SystemExit(1 if found else 0)


if __name__ == "__main__":
    main()

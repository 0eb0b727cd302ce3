"""Run the benchmarks and write their tables into benchmarks/README.md."""

import os
import platform
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

README = Path(__file__).with_name("README.md")
Rows = Sequence[Mapping[str, Any]]


def _no_peer() -> str:
    return "it needs uv pip install 'mdhfl[peer]'" if find_spec("flwr") is None else ""


def _no_gpu() -> str:
    from mdhfl.learning.device import why_missing

    return why_missing("cuda")


LACKS = {"peer": _no_peer, "gpu": _no_gpu}  # why a measurement cannot be made here, or nothing


def _start(folder: Path) -> Rows:
    from benchmarks import flare_cost, start

    return start.measure(flare_cost.small_federation(folder / "cost" / "fed"), folder / "start")


def measurements(folder: Path) -> dict[str, Callable[[], Rows]]:
    """Return every measurement by the name of its table."""
    from benchmarks import (
        blind_sums,
        comparison,
        demo,
        encryption,
        flare_cost,
        gpu,
        in_process,
        install,
        literal_round,
        mdhfl_plus,
        memory,
        peer,
        reading,
        teaching,
        training_step,
    )

    return {
        "training_step": training_step.measure,
        "gpu": gpu.measure,
        "memory": memory.measure,
        "literal_round": lambda: literal_round.measure(folder / "round"),
        "mdhfl_plus": mdhfl_plus.measure,
        "peer": lambda: peer.measure(folder / "peer"),
        "teaching": teaching.measure,
        "encryption": encryption.measure,
        "blind_sums": lambda: blind_sums.measure(folder / "blind"),
        "comparison": lambda: comparison.measure(folder / "comparison"),
        "flare_bytes": flare_cost.measure_bytes,
        "flare_seconds": lambda: flare_cost.measure_seconds(folder / "cost"),
        "start": lambda: _start(folder),
        "reading": lambda: reading.measure(folder / "reading"),
        "in_process": lambda: in_process.measure(folder / "sites"),
        "demo": lambda: demo.measure(folder / "demo"),
        "install": lambda: install.measure(folder / "install"),
    }


def markdown(rows: Rows) -> str:
    """Lay out rows as a Markdown table."""
    names = list(rows[0])
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    return "\n".join([*lines, *("| " + " | ".join(str(row[name]) for name in names) + " |" for row in rows)])


def write_table(name: str, table: str) -> None:
    """Replace what stands between `<!-- name -->` and `<!-- /name -->` in the README."""
    text = README.read_text(encoding="utf-8")
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    README.write_text(pattern.sub(lambda found: found[1] + table + "\n" + found[2], text), encoding="utf-8")


@click.command()
@click.argument("names", nargs=-1)
def main(names: tuple[str, ...]) -> None:
    """Run all benchmarks, or those named, one after another."""
    with tempfile.TemporaryDirectory() as folder:
        for name, measure in measurements(Path(folder)).items():
            if names and name not in names:
                continue
            if lacks := LACKS[name]() if name in LACKS else "":
                click.echo(f"\n{name}: left out; {lacks}")
                continue
            table = markdown(measure())
            click.echo(f"\n{name}\n{table}")
            write_table(name, table)
    versions = ", ".join(f"{package} {version(package)}" for package in ("torch", "monai", "nvflare"))
    write_table(
        "machine", f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, {versions}"
    )


if __name__ == "__main__":
    main()

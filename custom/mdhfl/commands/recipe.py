"""What `python jobs/<recipe>.py` does: run the recipe in FLARE's simulator, or export it as a job folder."""

import sys
from pathlib import Path

import click

from mdhfl.commands.cli import one_line_errors
from mdhfl.extras import require
from mdhfl.learning.bundle_changes import split_changes, with_prefix
from mdhfl.rounds.experiment import Experiment
from mdhfl.runs.folder import read_federation
from mdhfl.runs.recipe import Recipe, parse_changes
from mdhfl.sharing.watch import MODES, TELL
from mdhfl.showing.terminal import say


def main(recipe: Recipe) -> None:
    """Run the command of one recipe, with one line instead of a traceback for a user's mistake."""
    one_line_errors(_command(recipe))


def experiment_on(
    recipe: Recipe,
    *,
    federation: Path,
    identity: str,
    seed: int,
    rounds: int | None,
    pairs: tuple[str, ...],
    min_sites: int | None = None,
    watch: str = TELL,
) -> Experiment:
    """Put a recipe on a federation folder, or on the path of a federation.json alone: a server needs no images."""
    changes, bundle_changes = split_changes(parse_changes(pairs))
    if bundle_changes:
        raise ValueError(
            f"--set {next(iter(with_prefix(bundle_changes)))}: a job changes no site's bundle; each site does, by "
            '"bundle_changes" in its site.json (docs/site.md)'
        )
    folder = federation if federation.is_dir() else federation.parent
    return recipe.experiment(
        read_federation(folder),
        identity=identity,
        seed=seed,
        rounds=rounds,
        changes=changes,
        min_sites=min_sites,
        watch=watch,
    )


def _command(recipe: Recipe) -> click.Command:
    @click.command(
        help=f"{recipe.summary}.\n\nRuns in FLARE's simulator; --export writes a job for `nvflare job submit`."
    )
    @click.option("--federation", type=click.Path(path_type=Path), required=True, help="Folder from `mdhfl prepare`.")
    @click.option("--out", type=click.Path(path_type=Path), help="Folder for the results of a simulator run.")
    @click.option("--export", is_flag=True, help="Write the FLARE job instead of running it.")
    @click.option("--export-dir", type=click.Path(path_type=Path), default=Path("fl_job"), show_default=True)
    @click.option("--experiment", help="Id under which sites keep their state.  [default: <recipe>-seed<seed>]")
    @click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Random seed.")
    @click.option("--rounds", type=click.IntRange(min=1), help="Rounds after the warm-up.")
    @click.option("--min-sites", type=click.IntRange(min=1), help="Valid replies that a round needs.")
    @click.option("--watch", type=click.Choice(MODES), default=TELL, show_default=True, help="If a site stands out.")
    @click.option("--set", "pairs", multiple=True, metavar="NAME=VALUE", help="Change a hyper-parameter; repeatable.")
    @click.option(
        "--round-timeout",
        type=click.FloatRange(min=1, max=10_000_000),
        default=3600.0,
        show_default=True,
        help="Seconds until a round closes, in the exported job.",
    )
    def command(
        *,
        federation: Path,
        out: Path | None,
        export: bool,
        export_dir: Path,
        experiment: str | None,
        seed: int,
        rounds: int | None,
        min_sites: int | None,
        watch: str,
        pairs: tuple[str, ...],
        round_timeout: float,
    ) -> None:
        if export:
            identity = experiment or f"{recipe.name}-seed{seed}"
            asked = experiment_on(
                recipe,
                federation=federation,
                identity=identity,
                seed=seed,
                rounds=rounds,
                pairs=pairs,
                min_sites=min_sites,
                watch=watch,
            )
            _export(asked, name=recipe.name, out=export_dir, round_timeout=round_timeout)
            return
        if out is None:
            raise ValueError("--out: expected a folder for the results (or --export to write the job instead)")
        from mdhfl.commands.run import run_command

        arguments = [recipe.name, "--federation", str(federation), "--out", str(out), "--seed", str(seed)]
        arguments += ["--watch", watch]
        arguments += ["--rounds", str(rounds)] if rounds else []
        arguments += ["--min-sites", str(min_sites)] if min_sites else []
        arguments += [word for pair in pairs for word in ("--set", pair)]
        run_command.main(args=arguments, standalone_mode=False)

    command.name = Path(sys.argv[0]).name
    return command


def _export(experiment: Experiment, *, name: str, out: Path, round_timeout: float) -> None:
    """Write a FLARE job, and say what comes next."""
    require("server", what="a job for a FLARE server")
    from mdhfl.flare.job import export_job

    folder = export_job(experiment, name=name, out=out, round_timeout=round_timeout)
    say(f"job written: {folder}    next: nvflare job submit -j {folder}")

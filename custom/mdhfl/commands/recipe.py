"""What `python jobs/<recipe>.py` does: run the recipe in FLARE's simulator, or export it as a job folder."""

import sys
import warnings
from pathlib import Path

import click

from mdhfl.runs.recipe import Plan, parse_changes

SITE_CONFIG = "{workspace}/local/site.json"
SERVER_CONFIG = "{workspace}/local/server.json"
RESULTS = "{workspace}/experiments/{experiment}"


def main(plan: Plan) -> None:
    """Run the command of one recipe, with one line instead of a traceback for a user's mistake."""
    from mdhfl.commands.cli import one_line_errors

    one_line_errors(_command(plan))


def export_job(
    plan: Plan,
    *,
    federation: Path,
    experiment: str,
    out: Path,
    seed: int,
    rounds: int | None,
    pairs: tuple[str, ...],
    round_timeout: float,
) -> Path:
    """Write a job folder for `nvflare job submit`.

    Args:
        plan: what to run.
        federation: a federation folder, or the path of a federation.json alone: a server needs no images.
        experiment: the experiment's id; submitting the same one again continues it.
        out: folder in which the job's folder is written.
        seed, rounds, pairs: as in `mdhfl run`.
        round_timeout: seconds after which a round closes.

    Returns:
        The job's folder.
    """
    from mdhfl.runs.folder import read_federation

    with warnings.catch_warnings():  # FLARE warns that --export is its own word; here it means the same
        warnings.simplefilter("ignore")
        from mdhfl.flare.job import FederationRecipe

    folder = federation if federation.is_dir() else federation.parent
    described = plan.experiment(
        read_federation(folder), id_=experiment, seed=seed, rounds=rounds, changes=parse_changes(pairs)
    )
    recipe = FederationRecipe(
        name=plan.name,
        experiment=described,
        round_timeout=round_timeout,
        results=RESULTS,
        site_config=SITE_CONFIG,
        server_config=SERVER_CONFIG,
    )
    with warnings.catch_warnings():  # FLARE takes the public set's digest for a secret
        warnings.simplefilter("ignore")
        recipe.export(str(out))
    return out / plan.name


def _command(plan: Plan) -> click.Command:
    @click.command(
        help=f"{plan.summary}.\n\nRuns in FLARE's simulator; --export writes a job for `nvflare job submit`."
    )
    @click.option("--federation", type=click.Path(path_type=Path), required=True, help="Folder from `mdhfl prepare`.")
    @click.option("--out", type=click.Path(path_type=Path), help="Folder for the results of a simulator run.")
    @click.option("--export", is_flag=True, help="Write the FLARE job instead of running it.")
    @click.option("--export-dir", type=click.Path(path_type=Path), default=Path("fl_job"), show_default=True)
    @click.option("--experiment", help="Id under which sites keep their state.  [default: <recipe>-seed<seed>]")
    @click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
    @click.option("--rounds", type=click.IntRange(min=1), help="Rounds after the warm-up.")
    @click.option("--set", "pairs", multiple=True, metavar="NAME=VALUE", help="Change a hyper-parameter; repeatable.")
    @click.option(
        "--round-timeout", type=float, default=3600.0, show_default=True, help="Seconds until a round closes."
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
        pairs: tuple[str, ...],
        round_timeout: float,
    ) -> None:
        if export:
            folder = export_job(
                plan,
                federation=federation,
                experiment=experiment or f"{plan.name}-seed{seed}",
                out=export_dir,
                seed=seed,
                rounds=rounds,
                pairs=pairs,
                round_timeout=round_timeout,
            )
            click.echo(f"job written: {folder}    next: nvflare job submit -j {folder}")
            return
        if out is None:
            raise ValueError("--out: expected a folder for the results (or --export to write the job instead)")
        from mdhfl.commands.run import run_command

        arguments = [plan.name, "--federation", str(federation), "--out", str(out), "--seed", str(seed)]
        arguments += ["--rounds", str(rounds)] if rounds else []
        arguments += [word for pair in pairs for word in ("--set", pair)]
        run_command.main(args=arguments, standalone_mode=False)

    command.name = Path(sys.argv[0]).name
    return command

"""Preparing, running and reporting from Python: what `mdhfl` does on the command line, for scripts and notebooks.

Errors are exceptions with the texts that the command line shows.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mdhfl.extras import require
from mdhfl.jobs import RECIPES
from mdhfl.methods import Method, parameters_of
from mdhfl.rounds.experiment import Experiment
from mdhfl.runs.checks import modules_of
from mdhfl.runs.folder import (
    BUILT_IN_BUNDLES,
    RunOptions,
    create_run,
    read_federation,
    read_record,
    results_in,
    run_lock,
)
from mdhfl.runs.progress import Step
from mdhfl.runs.recipe import Recipe, recipe_of
from mdhfl.runs.resume import resume_run
from mdhfl.server.journal import read_rows
from mdhfl.sharing.watch import TELL
from mdhfl.site.log import LOG
from mdhfl.store.sealed import previous, read_sealed_json

if TYPE_CHECKING:
    import pandas

    from mdhfl.preprocessing.prepare import Prepared

PARTS = ("test", "validation")
PATHS = ("raw", "public_raw", "labels", "noise_matrix")  # arguments of `prepare` that are files


@dataclass(frozen=True, kw_only=True)
class Run:
    """A finished run.

    Attributes:
        folder: what `mdhfl report` and `mdhfl export-bundle` read.
        summary: the content of summary.json.
    """

    folder: Path
    summary: Mapping[str, Any]

    @property
    def scores(self) -> "pandas.DataFrame":
        """Scores, long: one row per site, round, part ("test", "validation") and score; `value` in [0, 1].

        Raises:
            MissingExtra: pandas is not installed.
        """
        require("notebook", what="Run.scores")
        import pandas

        return pandas.DataFrame(_score_rows(self.folder), columns=["site", "round", "part", "score", "value"])


def prepare(source: str, *, out: str | Path, workers: int | None = None, **arguments: Any) -> "Prepared":
    """Turn raw images into a federation folder, as `mdhfl prepare` does.

    Args:
        source: "synthetic", "acevedo20", "folder", "manifest", ...
        out: the folder to write.
        workers: processes that read images; None: one per core.
        arguments: as `mdhfl.preprocessing.arguments.PrepareArguments` names them, for example sites=4, per_site=200.

    Raises:
        ValueError: an argument is unknown or wrong, raw data cannot be read, or `out` holds something else.
    """
    from dataclasses import fields

    from mdhfl.preprocessing.arguments import PrepareArguments
    from mdhfl.preprocessing.prepare import prepare as prepare_folder

    known = {field.name for field in fields(PrepareArguments)}
    if unknown := sorted(set(arguments) - known):
        raise ValueError(f"prepare: no argument {', '.join(unknown)}; it has: {', '.join(sorted(known))}")
    values: dict[str, Any] = {
        name: Path(value) if name in PATHS and value is not None else tuple(value) if isinstance(value, list) else value
        for name, value in arguments.items()
    }
    return prepare_folder(PrepareArguments(source=source, out=Path(out), **values), workers=workers)


def run(
    federation: "str | Path | Prepared",
    method: str | Method = "mdhfl",
    *,
    out: str | Path,
    changes: Mapping[str, Any] | None = None,
    rounds: int | None = None,
    seed: int = 0,
    engine: str = "inprocess",
    bundles: Sequence[str] = BUILT_IN_BUNDLES,
    min_sites: int | None = None,
    watch: str | None = None,
    device: str = "cpu",
    threads: int | None = None,
    defences: Mapping[str, Any] | None = None,
    privacy: Mapping[str, Any] | None = None,
    resume: bool = False,
    progress: bool = True,
) -> Run:
    """Train a federation with one method, as `mdhfl run` does.

    Args:
        federation: the folder, or what `prepare` returned.
        method: a recipe's name, a method, or one of your own as "package.module:Class". A class that a notebook
            defines runs in process; one in a module runs in FLARE, too.
        out: folder for the results.
        changes: as `--set` takes them: hyper-parameters of the method, and {"bundle.learning_rate": 3e-4} and the like.
        rounds: after the warm-up; the published number if None.
        seed: random seed.
        engine: "inprocess", or "flare" for FLARE's simulator. Equal results.
        bundles: assigned to the sites in order, repeating: built-in names, or paths of your own. A bundle is code.
        min_sites: minimum valid replies per round.
        watch: "off", "tell" (the default), "weigh" or "put_aside": what follows where a site's answers stand out.
        device: "cpu", "cuda" or "cuda:<n>".
        threads: CPU threads per site, one if None. With one, the sites of an in-process run work side by side on all
            cores; with more, one after another, and the scores may differ.
        defences: what every site says less precisely, for example {"top_k": 3}; docs/site.md lists them.
        privacy: every site's budget of differential privacy, for example {"epsilon": 8, "delta": 1e-5}.
        resume: continue the run in `out` at the first round that is not recorded; `rounds` may be more, `min_sites` and
            `watch` others than before, everything else must be as it was.
        progress: show a bar on standard error.

    Raises:
        ValueError: something that was asked for cannot be; in one line, with the way out.
        RuntimeError: too few sites answered, or FLARE's simulator failed. Every finished round is kept.
    """
    folder = Path(out)
    source = Path(federation) if isinstance(federation, str | Path) else federation.folder
    recipe = Recipe(method=method) if isinstance(method, Method) else recipe_of(method, recipes=RECIPES)
    if resume:
        parameters = {**(parameters_of(method) if isinstance(method, Method) else {}), **(changes or {})}
        asked: dict[str, Any] = {"recipe": recipe.name, "federation": str(source.resolve()), "parameters": parameters}
        asked |= {"engine": engine, "seed": seed, "bundles": list(bundles), "device": device}
        asked |= {
            name: value
            for name, value in {"threads": threads, "defences": defences, "privacy": privacy}.items()
            if value is not None
        }
        trusted = modules_of(recipe.method)
        experiment = resume_run(folder, asked=asked, rounds=rounds, min_sites=min_sites, watch=watch, trusted=trusted)
    else:
        options = RunOptions(
            federation=source,
            engine=engine,
            bundles=tuple(bundles),
            seed=seed,
            rounds=rounds,
            changes=changes or {},
            min_sites=min_sites,
            watch=watch or TELL,
            device=device,
            threads=threads or 1,
            defences=defences or {},
            privacy=privacy or {},
            command=f"mdhfl.run({str(source)!r}, {recipe.name!r}, seed={seed}, out={str(folder)!r})",
        )
        experiment = create(folder, recipe=recipe, options=options)
    return execute(folder, experiment=experiment, progress=progress)


def report(runs: "Sequence[Run | str | Path]", *, out: str | Path = "report") -> Path:
    """Write the HTML report of some runs, as `mdhfl report` does, and return the page's path.

    Raises:
        MissingExtra: what draws its figures is not installed.
        ValueError: no run, or a folder that holds none.
    """
    require("report", what="a report")
    from mdhfl.reports.write import write_report

    return write_report([each.folder if isinstance(each, Run) else Path(each) for each in runs], out=Path(out))


def create(folder: Path, *, recipe: Recipe, options: RunOptions) -> Experiment:
    """Write a run's folder. Raises ValueError where its engine cannot run it, MissingExtra, or as `create_run`."""
    if options.engine == "flare":
        require("server", what="the server of FLARE's simulator (not --engine inprocess)")
        from mdhfl.flare.simulator import check_simulator_can_take

        check_simulator_can_take(folder, sites=len(read_federation(options.federation)["sites"]))
    return create_run(folder, recipe=recipe, options=options)


def execute(folder: Path, *, experiment: Experiment, progress: bool = True) -> Run:
    """Run what a folder asks for, or what is left of it, with its own engine.

    Raises:
        RuntimeError: too few sites answered, or FLARE's simulator failed. Every finished round is kept.
        InUse: it is being run already.
    """
    with run_lock(folder), naming_logs(folder):
        return _execute(folder, experiment=experiment, progress=progress)


def _execute(folder: Path, *, experiment: Experiment, progress: bool) -> Run:
    for path in (folder / "summary.json", previous(folder / "summary.json")):
        path.unlink(missing_ok=True)  # that of the shorter run that is being continued
    engine = str(read_record(folder)["engine"])
    with _bar(experiment) if progress else nullcontext(_silent) as on_step:
        if engine == "inprocess":
            from mdhfl.runs.inprocess import run_in_process

            def on_answer(request: Any, answer: Any) -> None:
                on_step(Step.of(request, answer))

            run_in_process(folder, experiment=experiment, on_answer=on_answer, all_cores=True)
        else:
            from mdhfl.flare.apart import simulate_apart

            simulate_apart(folder, on_step=on_step)
    return Run(folder=folder, summary=read_sealed_json(folder / "summary.json"))


@contextmanager
def naming_logs(folder: Path) -> Iterator[None]:
    """Say of a run that failed where its sites' logs are: what a site tells of a refusal is one of a few sentences."""
    try:
        yield
    except RuntimeError as error:
        logs = sorted(folder.glob(f"sites/*/{LOG}"))
        if not logs or not type(error).__module__.startswith("mdhfl."):
            raise
        raise type(error)(f"{error}. In full: {', '.join(map(str, logs))}") from error


def _bar(experiment: Experiment) -> Any:
    from mdhfl.reports.terminal import progress_bar

    return progress_bar(experiment)


def _silent(step: Step) -> None:
    pass


def _score_rows(folder: Path) -> list[tuple[str, int, str, str, float]]:
    from mdhfl.metrics import SCORES

    return [
        (row["site"], row["round"], part, score, row[part][score])
        for row in read_rows(results_in(folder) / "results.jsonl")
        if row["status"] == "ok"
        for part in PARTS
        for score in SCORES
    ]

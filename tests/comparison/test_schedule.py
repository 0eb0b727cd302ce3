"""In which order things are done, with tasks that only note what they were asked; and what is found before any run."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes.comparisons import SMALL, written
from fakes.simulated import own_bundle
from rich.console import Console
from rich.progress import Progress

from mdhfl.comparison import schedule
from mdhfl.comparison.compare import run_missing
from mdhfl.comparison.grid import Cell, read_comparison
from mdhfl.comparison.place import Workplace
from mdhfl.comparison.schedule import Schedule, Task
from mdhfl.comparison.tasks import Outcome, attempt, try_bundle
from mdhfl.comparison.watch import Bars, list_runs
from mdhfl.files import write_json
from mdhfl.server.journal import append_rows

RECORD = {"wall_seconds": 10.0, "on_all": {"site-1": {"macro_f1": 0.5}}}


@dataclass
class Done:
    """A job that ends after a few looks."""

    outcome: Outcome
    looks: int = 2

    def done(self) -> bool:
        self.looks -= 1
        return self.looks <= 0

    def result(self) -> Outcome:
        return self.outcome


@dataclass
class Notes:
    """An executor that does nothing but bundles' checks, and notes what it was asked."""

    failing: Sequence[str] = ()
    asked: list[str] = field(default_factory=list)
    ended: str = ""

    def submit(self, task: Callable[..., Any], *arguments: Any) -> Done:
        if task is try_bundle:
            self.asked.append("try")
            return Done(attempt(task, *arguments), looks=0)
        cell = arguments[0]
        is_run = task is schedule.run_cell
        said = f"{cell.method if is_run else 'prepare'} {cell.noise} {cell.seed}"
        self.asked.append(said)
        failure = "OSError: no" if said in self.failing else ""
        return Done(Outcome(value=RECORD, failure=failure))

    def close(self) -> None:
        self.ended += "closed"

    def kill(self) -> None:
        self.ended += "killed"


class Seen:
    """A watcher that counts what is under way."""

    def __init__(self) -> None:
        self.most, self.results, self.lost = 0, list[Cell](), list[tuple[str, str, int]]()

    def look(self, underway: Sequence[Task], waiting: Sequence[Cell]) -> None:
        self.most = max(self.most, len(underway))

    def ended(self, cell: Cell, record: Any) -> None:
        self.results.append(cell)

    def failed(self, what: str, reason: str, *, runs: int) -> None:
        self.lost.append((what, reason, runs))


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "LOOK_PERIOD", 0.001)


def place_of(folder: Path) -> Workplace:
    return Workplace(data=folder, work=folder / "work", threads=1, device="cpu")


@pytest.mark.parametrize("slots", [1, 2, 3, 20])
def test_runs_go_seed_by_seed_each_after_its_federation(tmp_path: Path, slots: int) -> None:
    cells = read_comparison(written(tmp_path, seeds=[0, 1, 2])).cells
    notes, seen = Notes(), Seen()
    failures = Schedule(cells=cells, place=place_of(tmp_path), executor=notes, slots=slots).run(seen)
    assert not failures
    assert sorted(cell.title for cell in seen.results) == sorted(cell.title for cell in cells)
    assert seen.most == min(slots, seen.most)
    assert seen.most >= min(slots, 6)
    for cell in cells:
        where = notes.asked.index(f"prepare {cell.noise} {cell.seed}")
        assert where < notes.asked.index(f"{cell.method} {cell.noise} {cell.seed}")
    runs = [said for said in notes.asked if not said.startswith("prepare")]
    seeds = [int(said[-1]) for said in runs]
    if slots <= 2:
        assert seeds == sorted(seeds)  # all methods of a seed before the next


def test_what_fails_stops_nothing_else(tmp_path: Path) -> None:
    cells = read_comparison(written(tmp_path, seeds=[0, 1])).cells
    notes, seen = Notes(failing=["prepare none 0", "MDH-FL none 1"]), Seen()
    failures = Schedule(cells=cells, place=place_of(tmp_path), executor=notes, slots=2).run(seen)
    failed = {(cell.method, cell.noise, cell.seed) for cell in failures}
    assert failed == {*((m, "none", 0) for m in SMALL["methods"]), ("MDH-FL", "none", 1)}
    assert set(failures.values()) == {"OSError: no"}
    assert len(seen.results) == 12 - 4
    prepared, run = sorted(seen.lost, reverse=True)
    assert prepared == ("preparing IID, none, seed 0", "OSError: no", 3)
    assert run[1:] == ("OSError: no", 1)
    assert run[0].startswith("MDH-FL on ")


def test_one_run_under_two_titles_is_run_once(tmp_path: Path) -> None:
    methods = {"one": {"recipe": "local"}, "same": {"recipe": "local", "set": {"local_epochs": 1}}}
    cells = read_comparison(written(tmp_path, noise={"none": {}}, methods=methods)).cells
    assert len({cell.run_folder for cell in cells}) == 1
    notes = Notes(failing=["one none 0"])
    failures = run_missing(cells, place=place_of(tmp_path), executor=notes, slots=2)
    assert notes.asked == ["try", "prepare none 0", "one none 0"]
    assert notes.ended == "closed"
    assert list(failures) == list(cells)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"set": {"bundle.learning_rate": 1e30}}, "local CE: bundle shufflenet_v2: "),
        ({"set": {"bundle.optimizer": "Adamm"}}, "optimizer cannot be built"),
        ({"prepare": {**SMALL["prepare"], "source": "folder", "raw": "nowhere"}}, "federation IID, none: .*nowhere"),
        ({"prepare": {**SMALL["prepare"], "source": "folder"}}, "source folder: give its raw data"),
        ({"prepare": {**SMALL["prepare"], "classes": ["nothing"]}}, "federation IID, none: .*nothing"),
        ({"prepare": {**SMALL["prepare"], "public": "folder", "public_raw": "away"}}, "away"),
    ],
)
def test_what_cannot_work_is_found_before_any_run(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    cells = read_comparison(written(tmp_path, **changes)).cells
    notes = Notes()
    with pytest.raises(ValueError, match=said) as raised:
        run_missing(cells, place=place_of(tmp_path), executor=notes, slots=2)
    assert "\n" not in str(raised.value)
    assert set(notes.asked) <= {"try"}
    assert notes.ended == "killed"


def test_that_everything_is_checked_first_is_said_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cells = read_comparison(written(tmp_path, seeds=[0, 1])).cells
    run_missing(cells, place=place_of(tmp_path), executor=Notes(), slots=2)
    assert capsys.readouterr().err.count("checking first") == 1


def test_a_bundle_of_one_s_own_takes_a_training_step_first(tmp_path: Path) -> None:
    bundle = own_bundle(tmp_path / "mine", ("batch_size: 16", "batch_size: 16\nrandom_transforms_: 1"))
    text = (bundle / "configs" / "train.yaml").read_text()
    (bundle / "configs" / "train.yaml").write_text(text.replace("lr: 0.001", "lr: 0.0"))
    cells = read_comparison(written(tmp_path, bundles=[str(bundle)])).cells
    with pytest.raises(ValueError, match="bundle mine: optimizer: a step changes no weight"):
        run_missing(cells, place=place_of(tmp_path), executor=Notes(), slots=2)


def test_raw_data_that_has_changed_since_is_named(tmp_path: Path) -> None:
    file = tmp_path / "data.npz"
    np.savez(file, train_images=np.zeros((2, 28, 28, 3), np.uint8))
    asked = {**SMALL["prepare"], "source": "medmnist", "raw": "data.npz", "public": "holdout"}
    asked.pop("classes")
    cells = read_comparison(written(tmp_path, prepare=asked, noise={"none": {}})).cells
    place = place_of(tmp_path)
    card = place.federation(cells[0]) / "federation.json"
    write_json(card, {"raw": {"medmnist": "0123"}})
    with pytest.raises(ValueError, match=r"raw data of medmnist is not what .* was prepared from; put it back"):
        run_missing(cells, place=place, executor=Notes(), slots=1)


def test_what_there_is_to_do_is_listed(tmp_path: Path) -> None:
    cells = read_comparison(written(tmp_path, seeds=[0, 1])).cells
    lines = list_runs(cells, cells[3:], slots=2)
    assert lines[0] == "12 runs (3 methods x 2 federations x 2 seeds): 3 finished, 9 to do, 2 at a time"
    assert lines[1] == "  seed 0, IID, symmetric 0.2: local CE; MDH-FL; FedAvg"
    assert len(lines) == 4


def test_the_bars_say_what_runs_now_in_which_round_and_what_is_left(tmp_path: Path) -> None:
    cells = read_comparison(written(tmp_path)).cells
    place, screen = place_of(tmp_path), Console(file=io.StringIO(), width=200)
    with Progress(console=screen, disable=False) as progress:
        bars = Bars(progress, place, known={}, slots=1)
        now = (Task(cell=cells[0], is_run=True, began=0.0), Task(cell=cells[3], is_run=False, began=0.0))
        bars.look(now, cells[1:])
        shown = [task.description for task in progress.tasks]
        assert shown == ["all runs", "local CE on IID, none, seed 0", "preparing IID, symmetric 0.2, seed 0"]
        assert progress.tasks[1].completed == 0
        append_rows(place.run(cells[0]) / "results.jsonl", [{"round": 0, "site": "site-1"}])
        bars.look(now, cells[1:])
        assert (progress.tasks[1].completed, progress.tasks[1].total) == (1, 2)
        bars.ended(cells[0], RECORD)
        bars.look((), cells[1:])
        assert [task.description for task in progress.tasks] == ["all runs, about 50 s left"]
        bars.failed("preparing IID, [own], seed 0", "OSError: no [space]", runs=3)
        assert progress.tasks[0].completed == 4
    said = screen.file.getvalue()  # type: ignore[attr-defined]
    assert "local CE on IID, none, seed 0: macro-F1 50.0, 10 s" in said
    assert "begun: preparing IID, symmetric 0.2, seed 0" in said
    assert "failed: preparing IID, [own], seed 0 (3 runs): OSError: no [space]" in said

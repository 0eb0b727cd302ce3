"""`mdhfl compare`: from a YAML file to a table; nothing is run twice, nothing impossible is begun."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import psutil
import pytest
import yaml
from click.testing import CliRunner
from fakes.comparisons import SMALL, written
from fakes.simulated import heed_ctrl_c

from mdhfl.commands.compare import compare_command
from mdhfl.comparison.grid import read_comparison
from mdhfl.comparison.place import Workplace, finished

ROOT = Path(__file__).resolve().parents[2]


def check_scores(path: Path, work: Path) -> None:
    """Every number once, of every run, and the same as in the run's own records; as pandas reads it."""
    scores = pandas.read_csv(path, keep_default_na=False, na_values=[""])  # "none" is a noise
    told_apart = ["run", "site", "round", "part", "score"]
    assert list(scores.columns[:8]) == ["run", "title", "federation", "noise", "method", "engine", "seed", "rounds"]
    assert list(scores.columns[-6:]) == ["site", "architecture", *told_apart[2:], "value"]
    assert not scores.duplicated(told_apart).any()
    assert scores.value.notna().all()
    assert set(scores.part) == {"test", "validation", "all_sites", "loss", "seconds", "bytes", "round"}
    assert set(scores.title) == {"local CE", "MDH-FL", "FedAvg"}
    assert set(scores["set.warm_up_epochs"]) == {1}
    assert scores["set.align_epochs"].isna().sum() == (scores.method != "mdhfl").sum()
    for run, rows in scores.groupby("run"):
        record = json.loads((work / run / "compared.json").read_text())
        of_all = rows[rows.part == "all_sites"].set_index(["site", "score"]).value
        for site, expected in record["on_all"].items():
            assert of_all[site].to_dict() == pytest.approx(expected)
        last = rows[(rows.part == "test") & (rows["round"] == rows["round"].max()) & (rows.score == "macro_f1")]
        for site, value in last.set_index("site").value.items():
            assert value == pytest.approx(record["summary"]["sites"][site]["macro_f1"])


@pytest.mark.slow
def test_a_comparison_runs_what_is_missing_and_writes_everything(tmp_path: Path) -> None:
    """First one noise, then both (as after an interruption), then nothing is left to do, and a failure is told."""
    out, work = tmp_path / "out", tmp_path / "work"

    def compare(file: Path, *more: str) -> str:
        call = [str(file), "--out", str(out), "--work", str(work), "--workers", "2", *more]
        done = CliRunner().invoke(compare_command, call, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    assert "3 of 3 runs finished" in compare(written(tmp_path, noise={"none": {}}))
    before = {path: path.stat().st_mtime_ns for path in work.rglob("compared.json")}
    assert "6 of 6 runs finished" in compare(written(tmp_path))
    after = {path: path.stat().st_mtime_ns for path in work.rglob("compared.json")}
    assert len(after) == 6
    assert {path: after[path] for path in before} == before  # never repeated
    assert "6 of 6 runs finished" in compare(written(tmp_path), "--table-only")
    table = (out / "table.md").read_text()
    assert table.startswith("Does it run?")
    assert "| local CE |" in table
    assert "FedAvg: common initial weights; scored on the merged model" in table
    assert (out / "results.csv").read_text().count("\n") == 7
    assert (out / "sites.csv").read_text().count("\n") == 13
    assert (out / "figure.svg").read_text().count("<svg") == 1
    check_scores(out / "scores.csv", work)
    decoded = list((work / "decoded").glob("*.npy"))
    assert len(decoded) == 7  # 2 sites x 3 parts and the public set, once for both noises and all methods
    assert not list(work.rglob("state.pt"))
    record = json.loads(next(iter(after)).read_text())
    assert record["wall_seconds"] > 0
    assert set(record["on_all"]) == {"site-1", "site-2"}
    assert record["peak_memory"] > 100 * 2**20


def test_the_files_of_all_sources_lie_below_the_data_folder(tmp_path: Path) -> None:
    asked = {**SMALL["prepare"], "source": "acevedo20", "raw": "a.zip", "also": ["matek19=m.zip", "manifest=sub/j.zip"]}
    cell = read_comparison(written(tmp_path, prepare=asked)).cells[0]
    arguments = cell.prepare_arguments(data=Path("data"), out=tmp_path)
    assert arguments.raw == Path("data/a.zip")
    assert arguments.also == ("matek19=data/m.zip", "manifest=data/sub/j.zip")


def command(file: Path, folder: Path) -> list[str]:
    places = ["--out", str(folder / "out"), "--work", str(folder / "work")]
    return [sys.executable, "-m", "mdhfl.commands.cli", "compare", str(file), *places]


def started(call: list[str]) -> subprocess.Popen:
    return subprocess.Popen(
        call,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=heed_ctrl_c,
    )


def wait_for(name: str, work: Path, process: subprocess.Popen) -> None:
    """Wait until a file of this name is written somewhere below a folder."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(FileNotFoundError):  # folders come and go while it prepares
            if list(work.rglob(name)):
                return
        time.sleep(0.1)


@pytest.mark.slow
def test_an_interrupted_comparison_goes_on(tmp_path: Path) -> None:
    """Ctrl-C when the first run has finished: one line, no process left, and the next call does the rest only."""
    file, work = written(tmp_path), tmp_path / "work"
    call = command(file, tmp_path)
    process = started(call)
    try:
        wait_for("compared.json", work, process)
        done = {path: path.stat().st_mtime_ns for path in work.rglob("compared.json")}
        os.killpg(process.pid, signal.SIGINT)
        said = process.communicate(timeout=60)[0]
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert done
    assert process.returncode == 1
    assert "interrupted; finished runs and rounds are kept: rerun the same command to continue" in said
    assert "Traceback" not in said
    assert len(list(work.rglob("compared.json"))) < 6
    assert "6 runs (3 methods x 2 federations x 1 seeds): 0 finished, 6 to do, " in said
    assert "seed 0, IID, symmetric 0.2: local CE; MDH-FL; FedAvg" in said
    again = subprocess.run(call, capture_output=True, text=True, timeout=500)
    assert "6 of 6 runs finished" in again.stdout, again.stderr
    assert {path: path.stat().st_mtime_ns for path in done} == done


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 128 + signal.SIGTERM), (signal.SIGINT, 1)], ids=["SIGTERM", "Ctrl-C twice"]
)
def test_a_stopped_comparison_leaves_no_process(tmp_path: Path, number: int, code: int) -> None:
    """In the middle of a run, to the command alone, as a job scheduler does; test_workers.py has more ways."""
    process = started(command(written(tmp_path), tmp_path))
    try:
        wait_for("results.jsonl", tmp_path / "work", process)
        family = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(number)
        if number == signal.SIGINT:
            time.sleep(0.2)
            process.send_signal(number)
        said = process.communicate(timeout=60)[0]
        _, alive = psutil.wait_procs(family, timeout=20)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert family
    assert not alive
    assert process.returncode == code
    assert "Traceback" not in said


@pytest.mark.slow
def test_one_failed_run_does_not_stop_the_others(tmp_path: Path) -> None:
    (tmp_path / "work" / "runs").mkdir(parents=True)
    file = written(
        tmp_path, noise={"none": {}}, methods={"local CE": {"recipe": "local"}, "other": {"recipe": "local_sce"}}
    )
    cells = read_comparison(file).cells
    broken = tmp_path / "work" / "runs" / cells[0].run_folder
    broken.mkdir(parents=True)
    (broken / "experiment.json").write_text("{}")
    call = [str(file), "--out", str(tmp_path / "out"), "--work", str(tmp_path / "work"), "--workers", "1"]
    done = CliRunner().invoke(compare_command, call)
    assert done.exit_code == 1
    assert "failed: local CE on IID, none, seed 0: Damaged" in done.output
    assert "1 of 2 runs finished" in done.output


@pytest.mark.slow
def test_another_domain_runs_through_the_same_command(tmp_path: Path) -> None:
    """The committed recipe for the MedMNIST family, on a generated file and made smaller."""
    recipe = yaml.safe_load((ROOT / "experiments" / "other_domain.yaml").read_text())
    recipe["prepare"] |= {"raw": "generated.npz", "per_site": 12, "sites": 2, "minimum": 2, "public_count": 10}
    recipe |= {"rounds": 1, "seeds": [0], "federations": {"IID": {"split": "iid"}}, "bundles": ["shufflenet_v2"]}
    recipe["noise"] = {"symmetric 0.2": recipe["noise"]["symmetric 0.2"]}
    file = tmp_path / "medmnist.yaml"
    file.write_text(yaml.safe_dump(recipe, sort_keys=False))
    random = np.random.default_rng(0)
    arrays = {}
    for part, count in (("train", 60), ("val", 12), ("test", 12)):
        arrays[f"{part}_images"] = random.integers(0, 256, size=(count, 28, 28, 3), dtype=np.uint8)
        arrays[f"{part}_labels"] = (np.arange(count) % 3)[:, None].astype(np.uint8)
    np.savez(tmp_path / "generated.npz", **arrays)
    call = [str(file), "--data", str(tmp_path), "--out", str(tmp_path / "out"), "--work", str(tmp_path / "work")]
    done = CliRunner().invoke(compare_command, call, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "4 of 4 runs finished" in done.output


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"methods": {"x": {"recipe": "fedmagic"}}}, "methods/x: no recipe 'fedmagic'; there are: "),
        ({"methods": {"x": {"recipe": "mdhfl", "set": {"speed": 1}}}}, "has no parameter speed"),
        ({"methods": {"x": {"recipe": "feddf"}}}, "x on IID, none: FedDF stops .* prepare it with --server-validation"),
        ({"methods": {"x": {"recipe": "swarm_fhe"}}}, "at least 3 sites, got 2"),
        ({"bundles": ["shufflenet_v2", "resnet10"]}, "FedAvg on IID, none: .*expected one architecture, got 2"),
        ({"prepare": {**SMALL["prepare"], "colour": 1}}, "`prepare` has no colour; it has: "),
        ({"prepare": {**SMALL["prepare"], "noise_rate": 0.2}}, "prepare/noise_rate: expected under noise, which names"),
        ({"federations": {"x": {"noise": "pairflip"}}}, "federations/x/noise: expected under noise, which names"),
        ({"prepare": {**SMALL["prepare"], "split": "fair"}, "federations": {"IID": {}}}, "expected one of iid"),
        ({"seeds": []}, "seeds: .*"),
        ({"rounds": 0}, "rounds: 0 is less than the minimum"),
        ({"method": {}}, "Additional properties are not allowed"),
    ],
)
def test_what_cannot_work_is_said_before_anything_starts(tmp_path: Path, changes: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said) as raised:
        read_comparison(written(tmp_path, **changes))
    assert "\n" not in str(raised.value)
    assert "small.yaml" in str(raised.value)


TWO_SOURCES = {
    "source": "acevedo20", "raw": "a.zip", "also": ["matek19=m.zip"], "public": "synthetic", "public_count": 12,
}  # fmt: skip


def written_for_sources(folder: Path, method: dict, **changes: Any) -> Path:
    """Write a comparison of one method on two sources, which nobody has said are how many sites."""
    asked = {"prepare": TWO_SOURCES, "federations": {"hospitals": {}}, "methods": {"x": method}, **changes}
    return written(folder, **asked)


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ({"recipe": "mdhfl", "set": {"robust": "median"}}, "robust=median: expected at least 4 sites, .*, got 2"),
        ({"recipe": "swarm_fhe"}, "at least 3 sites, got 2"),
    ],
)
def test_two_sources_are_two_sites(tmp_path: Path, method: dict, said: str) -> None:
    """As `prepare` will have it; whoever asks for another split gets four sites."""
    with pytest.raises(ValueError, match=said):
        read_comparison(written_for_sources(tmp_path, method))
    assert read_comparison(written_for_sources(tmp_path, method, federations={"IID": {"split": "iid"}})).cells


def test_sites_that_will_not_be_there_are_given_no_bundle(tmp_path: Path) -> None:
    bundles = ["shufflenet_v2", "shufflenet_v2", "resnet10", "resnet10"]
    assert read_comparison(written_for_sources(tmp_path, {"recipe": "fedavg"}, bundles=bundles)).cells
    with pytest.raises(ValueError, match="expected one architecture, got 2"):
        read_comparison(written_for_sources(tmp_path, {"recipe": "fedavg"}, bundles=bundles[1:]))


def test_a_file_that_is_no_yaml_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("a: [")
    with pytest.raises(ValueError, match=r"x.yaml: not YAML"):
        read_comparison(tmp_path / "x.yaml")


def test_equal_runs_of_two_files_share_a_folder_and_different_ones_do_not(tmp_path: Path) -> None:
    first = read_comparison(written(tmp_path)).cells
    same = read_comparison(written(tmp_path, question="Another?", seeds=[0, 1])).cells
    assert {c.run_folder for c in first} < {c.run_folder for c in same}
    other = read_comparison(written(tmp_path, set={"warm_up_epochs": 2})).cells
    assert not {c.run_folder for c in first} & {c.run_folder for c in other}
    assert {c.federation_folder for c in first} == {c.federation_folder for c in other}


@pytest.mark.parametrize("path", sorted((ROOT / "experiments").glob("*.yaml")), ids=lambda p: p.stem)
def test_the_committed_experiments_can_start(path: Path) -> None:
    comparison = read_comparison(path)
    assert comparison.cells
    assert comparison.question.endswith("?")


def test_the_peak_of_memory_is_measured_anew() -> None:
    """In a process of its own: what was allocated and freed before the reset is forgotten, what comes after is seen."""
    code = (
        "import numpy as np; from mdhfl.comparison.tasks import _reset_peak_memory, peak_memory\n"
        "block = np.ones(300 * 2**20, dtype=np.uint8); del block; high = peak_memory()\n"
        "_reset_peak_memory(); low = peak_memory(); block = np.ones(100 * 2**20, dtype=np.uint8)\n"
        "print(high, low, peak_memory())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    high, low, after = (int(word) / 2**20 for word in done.stdout.split())
    assert high - low > 200
    assert 90 < after - low < 200


def test_an_unfinished_run_is_not_taken_for_a_finished_one(tmp_path: Path) -> None:
    cell = read_comparison(written(tmp_path)).cells[0]
    place = Workplace(data=tmp_path, work=tmp_path, threads=1, device="cpu")
    assert finished(cell, place) is None
    place.run(cell).mkdir(parents=True)
    (place.run(cell) / "summary.json").write_text("{}")
    assert finished(cell, place) is None

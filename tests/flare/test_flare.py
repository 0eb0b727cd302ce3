"""The real simulator: four sites, four architectures, and the same numbers as in one process, bit for bit."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes.simulated import new_run, numbers_of, own_bundle
from fakes.small_federation import write_federation

import mdhfl
from mdhfl.flare.apart import simulate_apart
from mdhfl.flare.simulator import check_simulator_can_take, kill_simulator, members_of
from mdhfl.jobs import RECIPES
from mdhfl.rounds.experiment import Experiment
from mdhfl.runs.folder import BUILT_IN_BUNDLES, read_record, write_record
from mdhfl.runs.inprocess import run_in_process
from mdhfl.runs.progress import Step
from mdhfl.runs.resume import resume_run
from mdhfl.server.journal import read_rows
from mdhfl.server.results import Results

SITES = ("site-1", "site-2", "site-3", "site-4")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def four_sites(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_federation(tmp_path_factory.mktemp("four") / "fed", sites=SITES)


def simulator(folder: Path, *, round_timeout: float = 600) -> subprocess.Popen:
    call = f"simulate(pathlib.Path({str(folder)!r}), round_timeout={round_timeout})"
    code = f"import pathlib, mdhfl.flare.simulator; mdhfl.flare.simulator.{call}"
    with (folder / "flare.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-c", code],
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def finish(folder: Path) -> None:
    """Run the simulator to its end."""
    simulate_apart(folder, on_step=lambda step: None)


SHARING = [recipe for recipe in RECIPES if recipe != "mdhfl" and not recipe.startswith(("local", "centralised"))]


@pytest.mark.parametrize("recipe", SHARING)
def test_every_method_gives_the_numbers_of_one_process(tmp_path: Path, three_sites: Path, recipe: str) -> None:
    """Knowledge, weights by the server (which trains, for FedDF), peers that merge under a drawn leader."""
    changes: dict[str, Any] = {"warm_up_epochs": 1}
    if recipe == "feddf":
        changes |= {"distil_batches": 3, "distil_patience": 3, "distil_batch_size": 8}
    if recipe == "mdhfl_plus":
        changes["control"] = True
    if recipe == "rhfl":
        changes |= {"own_statistics": True, "prior_strength": 1.0}
    # FedDF's sites are sent the model of their own architecture: two broadcasts in a round.
    bundles = ("shufflenet_v2", "mobilenet_v2", "shufflenet_v2") if recipe == "feddf" else ("shufflenet_v2",)
    rows = {}
    for engine in ("inprocess", "flare"):
        folder = tmp_path / engine
        experiment = new_run(
            folder, three_sites, recipe=recipe, rounds=1, changes=changes, engine=engine, bundles=bundles
        )
        if engine == "inprocess":
            run_in_process(folder, experiment=experiment)
        else:
            finish(folder)
        rows[engine] = numbers_of(read_rows(folder / "results.jsonl"))
        for row in rows[engine]:
            leader = row["about"].pop("merged_by")  # the draw depends on the experiment's id
            assert bool(leader) == (recipe in ("sl_fedl", "swarm_fhe") and row["round"] > 0)
    assert len(rows["flare"]) == 3 * (3 if RECIPES[recipe].method.last_round(1) == 2 else 2)
    if recipe == "swarm_fhe":  # its noise is drawn anew: equal up to the first merge, and every merge reached everybody
        rows = {engine: [row for row in found if row["round"] == 0] for engine, found in rows.items()}
    assert rows["flare"] == rows["inprocess"]


@pytest.mark.parametrize("recipe", ["mdhfl", "mdhfl_plus"])
def test_blind_sums_give_the_numbers_of_one_process(tmp_path: Path, three_sites: Path, recipe: str) -> None:
    """Masks cancel to the last bit, whatever they are: every site has another key in each of the two runs."""
    rows = {}
    for engine in ("inprocess", "flare"):
        changes: dict[str, Any] = {"warm_up_epochs": 1, "blind": True}
        if recipe == "mdhfl_plus":
            changes |= {"local_epochs": 1, "competence_epochs": 1, "views": 2}
        experiment = new_run(tmp_path / engine, three_sites, recipe=recipe, rounds=2, changes=changes, engine=engine)
        if engine == "inprocess":
            run_in_process(tmp_path / engine, experiment=experiment)
        else:
            finish(tmp_path / engine)
        rows[engine] = numbers_of(read_rows(tmp_path / engine / "results.jsonl"))
    assert len(rows["flare"]) == 9
    assert all(row["losses"]["align"] is not None for row in rows["flare"] if row["round"])
    assert rows["flare"] == rows["inprocess"]


OWN_METHOD = """
from dataclasses import dataclass
from typing import ClassVar

import torch

from mdhfl.methods.fedmd import FedMd


@dataclass(frozen=True, kw_only=True)
class Halved(FedMd):
    title: ClassVar[str] = "halved"

    def alignment_loss(self, logits: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        return super().alignment_loss(logits, teacher) / 2
"""


def test_a_method_of_a_users_own_module_runs_in_flare(
    tmp_path: Path, three_sites: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Server and sites import it by its path, because their settings list the module; the numbers are one process's."""
    (tmp_path / "own_method.py").write_text(OWN_METHOD)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    asked = {"rounds": 1, "threads": 1, "progress": False}
    runs = {
        engine: mdhfl.run(three_sites, "own_method:Halved", out=tmp_path / engine, engine=engine, **asked)
        for engine in ("inprocess", "flare")
    }
    rows = {engine: numbers_of(read_rows(run.folder / "results.jsonl")) for engine, run in runs.items()}
    assert rows["flare"] == rows["inprocess"]
    assert len(rows["flare"]) == 6
    assert all(row["losses"]["align"] for row in rows["flare"] if row["round"] == 1)
    assert json.loads((tmp_path / "flare" / "sites" / "site-1" / "site.json").read_text())["methods"] == ["own_method"]


def test_a_site_that_refuses_is_left_out_of_the_draw(tmp_path: Path, three_sites: Path) -> None:
    """Over FLARE's peer messages: a site's ledger was tampered with; the others ask it themselves, and go on."""
    experiment = new_run(tmp_path, three_sites, recipe="sl_fedl", rounds=1, engine="flare")
    path = tmp_path / "sites" / "site-2" / experiment.id / "ledger.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text("{}\n")
    finish(tmp_path)
    log = (tmp_path / "sites" / "site-2" / "site.log").read_text()
    assert f"ledger {path}, line 1: ledger entry: expected the fields index, merged, previous" in log
    assert "its ledger of merges was tampered with" in (tmp_path / "flare.log").read_text()
    rows = {row["site"]: row for row in read_rows(tmp_path / "results.jsonl") if row["round"] == 1}
    led = {site: row["about"]["merged_by"] for site, row in rows.items()}
    assert led.pop("site-2") == ""
    assert set(led.values()) in ({"site-1"}, {"site-3"})


def test_a_finished_run_whose_labels_changed_is_refused_with_the_difference(tmp_path: Path) -> None:
    """Not yesterday's scores with status "completed"."""
    federation = write_federation(tmp_path / "fed")
    folder = tmp_path / "run"
    new_run(folder, federation, rounds=1, engine="flare")
    finish(folder)
    (folder / "summary.json").unlink()
    path = federation / "sites" / "site-2" / "datalist.json"
    values = json.loads(path.read_text())
    values["training"][0]["label"] = 1 - values["training"][0]["label"]
    path.write_text(json.dumps(values))
    process = simulator(folder)
    try:
        process.wait(timeout=240)
    finally:
        kill_simulator(process, run=folder)
    log = (folder / "flare.log").read_text()
    assert "site 'site-2': this experiment was begun with something else: data;" in log
    assert "the end: expected usable answers from at least 2 of 2 sites, got 1" in log
    assert not (folder / "summary.json").exists()


def knowledge_of(folder: Path, experiment: Experiment) -> dict[str, np.ndarray]:
    last = Results(folder, experiment=experiment).resume()
    assert last is not None
    return {site: knowledge.values for site, knowledge in last.shared.items()}


def test_flare_equals_in_process_even_when_everything_is_killed_in_between(tmp_path: Path, four_sites: Path) -> None:
    """Two rounds in one process, against two rounds in FLARE with a kill -9 of server and sites after the first."""
    expected = new_run(tmp_path / "one", four_sites, bundles=BUILT_IN_BUNDLES)
    run_in_process(tmp_path / "one", experiment=expected)

    folder = tmp_path / "flare"
    new_run(folder, four_sites, bundles=BUILT_IN_BUNDLES, engine="flare", rounds=30)
    process = simulator(folder)
    try:
        wait_for(folder, number=1, process=process)
    finally:
        kill_simulator(process, run=folder)
    done = read_rows(folder / "results.jsonl")[-1]["round"]
    assert done >= 1

    write_record(folder, {**read_record(folder), "rounds": done + 1})
    if done + 1 > expected.rounds:
        expected = resume_run(tmp_path / "one", rounds=done + 1)
        run_in_process(tmp_path / "one", experiment=expected)
    assert simulator(folder).wait(timeout=300) == 0, (folder / "flare.log").read_text()[-3000:]

    one, other = (numbers_of(read_rows(tmp_path / name / "results.jsonl")) for name in ("one", "flare"))
    assert one == other
    ours, theirs = knowledge_of(tmp_path / "one", expected), knowledge_of(folder, resume_run(folder))
    for site in SITES:
        np.testing.assert_array_equal(ours[site], theirs[site])
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["engine"] == "flare"
    assert summary["status"] == "finished"
    assert {s["bundle"] for s in summary["sites"].values()} == set(BUILT_IN_BUNDLES)
    assert list((folder / "flare").rglob("events.out.tfevents*")), "no scalars were streamed to TensorBoard"


def wait_for(folder: Path, *, number: int, process: subprocess.Popen, seconds: float = 240) -> list[dict]:
    """Wait until a round is recorded and return all rows."""
    deadline = time.monotonic() + seconds
    while True:
        rows = read_rows(folder / "results.jsonl")
        if rows and rows[-1]["round"] >= number:
            return rows
        assert time.monotonic() < deadline, (folder / "flare.log").read_text()[-3000:]
        assert process.poll() is None, (folder / "flare.log").read_text()[-3000:]
        time.sleep(0.1)


def test_a_site_that_the_simulator_loses_comes_back_and_no_number_changes(tmp_path: Path, three_sites: Path) -> None:
    """Its process is killed after the warm-up, as the kernel does when memory runs out."""
    expected = new_run(tmp_path / "one", three_sites)
    run_in_process(tmp_path / "one", experiment=expected)
    folder = tmp_path / "flare"
    new_run(folder, three_sites, engine="flare")
    steps: list[Step] = []

    def kill(step: Step) -> None:
        if (step.action, step.site) == ("warm_up", "site-2") and "start" not in {one.action for one in steps}:
            (worker,) = [one for one in members_of(folder) if "site-2" in one.cmdline()]
            worker.kill()
        steps.append(step)

    simulate_apart(folder, on_step=kill)
    assert [step.site for step in steps if step.action == "start"] == ["site-2"]
    rows = [numbers_of(read_rows(run / "results.jsonl")) for run in (folder, tmp_path / "one")]
    assert rows[0] == rows[1]


def test_a_slow_site_misses_its_round_and_is_asked_again(tmp_path: Path, federation: Path) -> None:
    """While a file exists, site-2 does nothing: its round closes at the deadline, and it comes back in the next."""
    flag = tmp_path / "asleep"
    scale = "_target_: ScaleIntensityRange\n  a_min: 0\n  a_max: 255\n  b_min: -1\n  b_max: 1\n"
    sleepy = (
        f"$lambda x: ([__import__('time').sleep(0.1) for _ in iter(Path('{flag}').exists, False)], x / 127.5 - 1)[1]"
    )
    bundle = own_bundle(tmp_path / "sleepy", (f"intensity_transform:\n  {scale}", f'intensity_transform: "{sleepy}"\n'))
    folder = tmp_path / "run"
    bundles = ("shufflenet_v2", str(bundle))
    new_run(folder, federation, bundles=bundles, engine="flare", rounds=3, min_sites=1)
    process = simulator(folder, round_timeout=60)
    try:
        wait_for(folder, number=0, process=process)
        flag.touch()
        late = next(n for n in (1, 2) if wait_for(folder, number=n, process=process)[-1]["status"] == "refused")
        flag.unlink()
        assert process.wait(timeout=300) == 0, (folder / "flare.log").read_text()[-3000:]
    finally:
        kill_simulator(process, run=folder)
    rows = {(row["round"], row["site"]): row for row in read_rows(folder / "results.jsonl")}
    assert rows[late, "site-1"]["status"] == "ok"
    assert rows[late, "site-2"]["reason"] == "no answer before the round's deadline"
    assert rows[3, "site-2"]["status"] == "ok"


def test_what_the_simulator_cannot_take_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="takes no spaces in a path"):
        check_simulator_can_take(tmp_path / "my runs", sites=2)
    with pytest.raises(ValueError, match="use --engine inprocess"):
        check_simulator_can_take(tmp_path, sites=32)

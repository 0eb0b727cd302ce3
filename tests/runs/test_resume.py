"""An experiment goes on with what it was begun with; anything else is refused in one line that lists the difference."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from fakes.damage import edit_json
from fakes.simulated import log_of, new_run, own_bundle, site_of
from fakes.small_federation import write_federation

from mdhfl.methods.fedmd import FedMd
from mdhfl.methods.mdhfl import Mdhfl
from mdhfl.rounds.experiment import Experiment
from mdhfl.runs.folder import read_record, read_run, run_lock, site_settings_path
from mdhfl.runs.inprocess import run_in_process
from mdhfl.runs.resume import resume_run
from mdhfl.server.results import Results
from mdhfl.store.lock import InUse

SITES = ("site-1", "site-2")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a federation, a bundle and a finished run of one round, to be copied."""
    work = tmp_path_factory.mktemp("finished")
    federation = write_federation(work / "fed", sites=SITES, training=8, testing=6, public=6)
    bundle = own_bundle(work / "bundle", ("lr: 0.001", "lr: 0.002"))
    experiment = new_run(work / "run", federation, rounds=1, bundles=(str(bundle),), changes={"warm_up_epochs": 1})
    run_in_process(work / "run", experiment=experiment)
    return work


@pytest.fixture
def work(finished: Path, tmp_path: Path) -> Path:
    """A copy of all of it, with settings that name the copies."""
    folder = tmp_path / "work"
    shutil.copytree(finished, folder)
    for path in (folder / "run" / "sites").glob("*/site.json"):
        path.write_text(path.read_text().replace(str(finished), str(folder)))
    return folder


def edit_bundle(work: Path) -> None:
    path = work / "bundle" / "configs" / "train.yaml"
    path.write_text(path.read_text().replace("lr: 0.002", "lr: 5.0"))


def edit_bundle_code(work: Path) -> None:
    with (work / "bundle" / "mdhfl_transforms.py").open("a") as file:
        file.write("\n# changed\n")


def edit_labels(work: Path) -> None:
    path = work / "fed" / "sites" / "site-2" / "datalist.json"
    values = json.loads(path.read_text())
    values["training"] = [{**item, "label": 0} for item in values["training"]]
    path.write_text(json.dumps(values))


def add_images(work: Path) -> None:
    path = work / "fed" / "sites" / "site-2" / "datalist.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps({**values, "training": values["training"] + values["validation"]}))


def other_bundle(work: Path) -> None:
    edit_json(site_settings_path(work / "run", "site-2"), bundle="resnet10")


@pytest.mark.parametrize("change", [edit_bundle, edit_bundle_code, edit_labels, add_images, other_bundle])
def test_a_site_whose_bundle_or_data_changed_says_so_also_after_the_last_round(
    work: Path, change: Callable[[Path], None]
) -> None:
    """Not yesterday's scores: the finished run is refused by name, at the site and where it is resumed."""
    experiment, _ = read_run(work / "run")
    change(work)
    what = "data" if change in (edit_labels, add_images) else "bundle"
    said = site_of(work / "run", "site-2").answer(experiment.request("finish", number=1)).refusal
    assert f"site 'site-2': this experiment was begun with something else: {what};" in said
    full = log_of(work / "run", said, "site-2")
    assert f"site 'site-2': experiment {experiment.id!r} was begun with something else: {what} " in full
    assert ", now " in full
    with pytest.raises(RuntimeError, match=rf"the end: expected usable answers .*site-2: .*something else: {what};"):
        run_in_process(work / "run", experiment=experiment)
    edit_json(site_settings_path(work / "run", "site-1"), bundle=str(work / "bundle"))
    with pytest.raises(ValueError, match=rf"begun with something else: .*site-2.{what}_digest "):
        resume_run(point_at_copy(work))


def point_at_copy(work: Path) -> Path:
    """Let the run's record name the copied federation."""
    from mdhfl.runs.folder import write_record

    write_record(work / "run", {**read_record(work / "run"), "federation": str(work / "fed")})
    return work / "run"


def test_a_site_that_refuses_at_the_end_is_in_the_summary(work: Path) -> None:
    experiment, _ = read_run(work / "run")
    edit_labels(work)
    summary = run_in_process(work / "run", experiment=replace(experiment, min_sites=1))
    (refused,) = summary["sites"]["site-2"]["refused"]
    assert refused["round"] == 1
    assert "at the end: site 'site-2': this experiment was begun with something else: data" in refused["reason"]


OTHERS: dict[str, tuple[Callable[[Experiment], Experiment], str]] = {
    "seed": (lambda e: replace(e, seed=7), "seed 0, now 7"),
    "method": (lambda e: replace(e, method=FedMd()), "method mdhfl, now fedmd"),
    "parameter": (lambda e: replace(e, method=Mdhfl(align_epochs=3)), "parameters.align_epochs 1, now 3"),
    "classes": (lambda e: replace(e, classes=e.classes[::-1]), 'classes ["blue"'),
    "public set": (lambda e: replace(e, public_digest="1" * 64), "public_digest "),
    "sites": (
        lambda e: replace(e, sites=("site-1",), min_sites=1, training_images={"site-1": 8}),
        'sites ["site-1", "site-2"], now ["site-1"]',
    ),
    "federation": (lambda e: replace(e, federation_digest="2" * 64), "federation_digest "),
}


@pytest.mark.parametrize("case", OTHERS)
def test_the_same_id_with_something_else_is_refused_by_the_server(work: Path, case: str) -> None:
    change, said = OTHERS[case]
    other = change(read_run(work / "run")[0])
    before = (work / "run" / "results.jsonl").read_bytes()
    with pytest.raises(ValueError, match="was begun with something else") as error:
        run_in_process(work / "run", experiment=other)
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert (work / "run" / "results.jsonl").read_bytes() == before


@pytest.mark.parametrize("case", ["seed", "method", "parameter", "classes", "public set"])
def test_the_same_id_with_something_else_is_refused_by_the_site(work: Path, case: str) -> None:
    """Whatever a server forgets: also in the process that has the experiment in memory."""
    change, said = OTHERS[case]
    experiment, _ = read_run(work / "run")
    site = site_of(work / "run", "site-1")
    assert not site.answer(experiment.request("finish", number=1)).refusal
    refusal = site.answer(change(experiment).request("learn", number=2)).refusal
    assert f"was begun with something else: {case.replace('parameter', 'parameters')}" in refusal
    assert "\n" not in refusal
    assert said.replace("public_digest", "public set") in log_of(work / "run", refusal)


def test_a_run_may_be_given_more_rounds_and_another_number_of_sites_and_nothing_else(work: Path) -> None:
    run = point_at_copy(work)
    assert resume_run(run) == read_run(run)[0]
    longer = resume_run(run, rounds=3, min_sites=1)
    assert (longer.rounds, longer.min_sites) == (3, 1)
    assert read_run(run)[0] == longer
    with pytest.raises(ValueError, match="expected at least the run's 3"):
        resume_run(run, rounds=2)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"recipe": "fedavg"}, "recipe mdhfl, now fedavg"),
        ({"seed": 77}, "seed 0, now 77"),
        ({"parameters": {"local_epochs": 50}}, "parameters.local_epochs 1, now 50"),
        ({"parameters": {"control": True}}, "parameters.control none, now true"),
        ({"bundles": ("resnet12",)}, "bundles ["),
        ({"engine": "flare"}, "engine inprocess, now flare"),
        ({"federation": "/nowhere"}, "federation "),
        ({"device": "cuda"}, "device cpu, now cuda"),
        ({"threads": 8}, "threads 1, now 8"),
    ],
)
def test_what_a_resume_asks_for_must_not_contradict_the_run(work: Path, asked: dict, said: str) -> None:
    run = point_at_copy(work)
    record = read_record(run)
    same = {name: record[name] for name in ("recipe", "seed", "engine", "federation", "device", "threads")}
    bundles = [site["bundle"] for site in record["sites"].values()]
    resume_run(run, asked={**same, "parameters": {"local_epochs": 1}, "bundles": bundles[:1]})
    with pytest.raises(ValueError, match="was asked for something else") as error:
        resume_run(run, asked={**same, **asked})
    assert said in str(error.value)


def test_a_folder_of_an_older_version_is_refused_by_name(work: Path) -> None:
    record = read_record(work / "run")
    for path in (work / "run").glob("experiment.json*"):
        path.write_text(json.dumps(record))
    with pytest.raises(OSError, match=r"experiment.json: damaged, or of version 0.1.0"):
        read_run(work / "run")


def test_a_second_run_in_one_folder_is_refused_and_the_first_goes_on(work: Path) -> None:
    experiment, _ = read_run(work / "run")
    with run_lock(work / "run"), pytest.raises(InUse, match=rf"run: in use by another run \(process {os.getpid()}\)"):
        run_lock(work / "run")
    run_lock(work / "run").release()
    first = Results(work / "run", experiment=experiment)
    first.resume()
    with pytest.raises(InUse, match="give another --out"):
        run_in_process(work / "run", experiment=experiment)
    first.close()
    assert run_in_process(work / "run", experiment=experiment)["status"] == "finished"


def test_two_processes_do_not_work_on_one_state(work: Path) -> None:
    experiment, _ = read_run(work / "run")
    one, other = (site_of(work / "run", "site-1") for _ in range(2))
    request = experiment.request("finish", number=1)
    assert not one.answer(request).refusal
    refusal = other.answer(request).refusal
    assert "another process works on this experiment" in refusal
    assert "in use by another run" in log_of(work / "run", refusal)
    one.close()
    assert not other.answer(request).refusal


def test_a_dead_process_holds_no_lock(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from mdhfl.store.lock import FolderLock\n"
        "lock = FolderLock(Path(sys.argv[1]), name='run.lock', way_out=''); print('held', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(InUse, match=rf"process {process.pid}\)"):
            run_lock(tmp_path)
    finally:
        process.kill()
        process.wait()
    started = time.monotonic()
    run_lock(tmp_path).release()
    assert time.monotonic() - started < 5

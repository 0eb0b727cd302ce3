"""What other versions of mdhfl wrote: federations of 0.1.0 are read, everything that cannot be is refused in a line."""

import json
import shutil
from pathlib import Path

import pytest
from fakes.damage import edit_json, edit_sealed
from fakes.simulated import changes_for, log_of, new_run, site_of, tiny_bundle
from fakes.small_federation import write_federation

from mdhfl.api import report
from mdhfl.commands.check import problems_of
from mdhfl.files import OtherFormat
from mdhfl.methods import create
from mdhfl.methods.mdhfl import Mdhfl
from mdhfl.runs.folder import read_federation, read_run
from mdhfl.runs.inprocess import run_in_process
from mdhfl.server.results import Results
from mdhfl.sharing.messages import Request
from mdhfl.site.folder import SiteFolder
from mdhfl.store.sealed import Damaged
from mdhfl.store.tensors import load_tensors, save_tensors

FEDERATION_010 = Path(__file__).parent / "fakes" / "federation-0.1.0"  # both as that version wrote them
RUN_010 = Path(__file__).parent / "fakes" / "run-0.1.0"


def test_a_federation_of_0_1_0_is_whole_and_trains(tmp_path: Path) -> None:
    assert problems_of(FEDERATION_010, classes=2, image_size=8)[1] == []
    bundles = (str(tiny_bundle(tmp_path / "tiny")),)
    experiment = new_run(tmp_path / "run", FEDERATION_010, rounds=1, bundles=bundles, changes=changes_for("mdhfl"))
    summary = run_in_process(tmp_path / "run", experiment=experiment)
    assert summary["status"] == "finished"
    assert not any(site["refused"] for site in summary["sites"].values())
    assert experiment.training_images == {"site-1": 10, "site-2": 10}


@pytest.mark.parametrize(
    "name", ["federation.json", "sites/site-1/card.json", "sites/site-1/datalist.json", "public/card.json"]
)
def test_a_federation_of_a_later_format_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "fed"
    shutil.copytree(FEDERATION_010, folder)
    edit_json(folder / name, version=2, prepared_with={"mdhfl": "9.9\x1b[2J"}, something="else")
    problems = problems_of(folder, classes=2, image_size=8)[1] if name != "federation.json" else [_said(folder)]
    said = next(problem for problem in problems if name in problem)
    assert "expected format 1, got format 2 of mdhfl '9.9" in said
    assert "Use that version, or write it anew" in said
    assert "\n" not in said


def _said(folder: Path) -> str:
    with pytest.raises(OtherFormat) as error:
        read_federation(folder)
    return str(error.value)


def test_a_site_refuses_data_of_a_later_format(tmp_path: Path) -> None:
    federation = write_federation(tmp_path / "fed")
    experiment = new_run(tmp_path / "run", federation)
    path = federation / "sites" / "site-1" / "datalist.json"
    edit_json(path, version=2)
    refusal = site_of(tmp_path / "run", "site-1").answer(experiment.request("open", number=0)).refusal
    assert "(private_images; site.log: " in refusal
    assert "expected format 1, got format 2" in log_of(tmp_path / "run", refusal)


def test_a_run_of_0_1_0_is_refused_in_one_line(tmp_path: Path) -> None:
    for reading in (read_run, lambda folder: report([folder], out=tmp_path / "report")):
        with pytest.raises(Damaged, match=r"experiment.json: damaged, or of version 0.1.0, .*: start anew") as error:
            reading(RUN_010)
        assert "\n" not in str(error.value)


def test_a_servers_results_of_0_1_0_are_refused_and_kept(tmp_path: Path, federation: Path) -> None:
    shutil.copytree(RUN_010, tmp_path / "server")
    results = Results(tmp_path / "server", experiment=new_run(tmp_path / "run", federation))
    with pytest.raises(Damaged, match=r"results.jsonl: line 1: .*start a new run"):
        results.resume()
    results.close()
    assert (tmp_path / "server" / "results.jsonl").read_bytes() == (RUN_010 / "results.jsonl").read_bytes()


def test_a_sites_state_of_0_1_0_is_refused_and_kept(tmp_path: Path, federation: Path) -> None:
    (old,) = RUN_010.glob("sites/site-1/mdhfl-*")
    experiment = new_run(tmp_path / "run", federation)
    state = tmp_path / "run" / "sites" / "site-1" / experiment.id
    shutil.copytree(old, state)
    request = experiment.request("learn", number=2, answered=("site-1",))
    refusal = site_of(tmp_path / "run", "site-1").answer(request).refusal
    assert "(lost_state; site.log: " in refusal
    assert "of version 0.1.0" in log_of(tmp_path / "run", refusal)
    assert (state / "state.pt").read_bytes() == (old / "state.pt").read_bytes()


def test_a_run_of_a_later_format_is_refused_in_one_line(tmp_path: Path, federation: Path) -> None:
    new_run(tmp_path / "run", federation)
    edit_sealed(tmp_path / "run" / "experiment.json", version=2)
    with pytest.raises(OtherFormat, match=r"experiment.json: expected format 1, got format 2 of mdhfl '.*'"):
        read_run(tmp_path / "run")


@pytest.mark.parametrize(("version", "said"), [(3, "got format 3 of mdhfl '9.9'"), (None, "got no format number")])
def test_a_sites_state_of_another_format_is_refused_and_no_older_one_taken(
    version: int | None, said: str, tmp_path: Path, federation: Path
) -> None:
    bundles = (str(tiny_bundle(tmp_path / "tiny")),)
    experiment = new_run(tmp_path / "run", federation, rounds=1, bundles=bundles, changes=changes_for("mdhfl"))
    run_in_process(tmp_path / "run", experiment=experiment)
    state = tmp_path / "run" / "sites" / "site-1" / experiment.id / "state.pt"
    values = {**load_tensors(state), "version": version, "written_with": "9.9"}
    save_tensors(state, values)
    before = state.read_bytes()
    request = experiment.request("finish", number=1, answered=("site-1",))
    refusal = site_of(tmp_path / "run", "site-1").answer(request).refusal
    assert "(state_format; site.log: " in refusal
    assert said in log_of(tmp_path / "run", refusal)
    assert state.read_bytes() == before
    folder = SiteFolder(state.parent, site="site-1")
    with pytest.raises(OtherFormat, match="start a new experiment under another id"):
        folder.progress()
    folder.close()


@pytest.mark.parametrize("version", ["0.1.1", "9.9"])
def test_a_site_works_with_a_server_of_another_version_that_speaks_its_protocol(
    version: str, tmp_path: Path, federation: Path
) -> None:
    bundles = (str(tiny_bundle(tmp_path / "tiny")),)
    experiment = new_run(tmp_path / "run", federation, bundles=bundles, changes=changes_for("mdhfl"))
    wire = {**experiment.request("warm_up", number=0).to_wire(), "version": version}
    assert not site_of(tmp_path / "run", "site-1").answer(Request.from_wire(wire)).refusal


def test_hyper_parameters_that_0_1_0_had_none_of_are_what_it_did() -> None:
    record = json.loads((RUN_010 / "experiment.json").read_text(encoding="utf-8"))
    method = create(record["method"], record["parameters"])
    assert method == Mdhfl(**record["parameters"])
    assert (method.blind, method.robust) == (False, "mean")
    with pytest.raises(ValueError, match="method 'mdhfl' needs a value for temperature"):
        create("mdhfl", {name: value for name, value in record["parameters"].items() if name != "temperature"})

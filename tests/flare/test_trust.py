"""In FLARE, a site's defences and its budget hold, and a site that poisons is named and put aside."""

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from fakes.simulated import new_run, numbers_of
from fakes.small_federation import write_federation
from test_flare import finish

from mdhfl.commands.leaves import leaves_command
from mdhfl.commands.status import status_command
from mdhfl.commands.watch import watch_command
from mdhfl.rounds.experiment import Experiment
from mdhfl.runs.folder import read_record, read_run, site_settings_path, write_record
from mdhfl.runs.inprocess import run_in_process
from mdhfl.server.journal import read_rows
from mdhfl.server.shared_file import load_shared, shared_path
from mdhfl.site.budget import ACCOUNT, Account
from mdhfl.site.left import LEFT, answers_left, array_digest
from mdhfl.site.settings import read_site_settings
from mdhfl.store.sealed import write_sealed_json

pytestmark = pytest.mark.slow
ENGINES = ("inprocess", "flare")
QUICK = {"warm_up_epochs": 1, "local_epochs": 1}
ACCURATE = {"precision": 4, "top_k": 1}
BUDGET = {"epsilon": 5, "delta": 1e-3, "rounds": 2}
SECRET = "5e" * 32


def change_site(folder: Path, site: str, **fields: Any) -> None:
    """Write into one site's site.json what its IT would."""
    path = site_settings_path(folder, site)
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def run(folder: Path, engine: str, *, identity: str) -> Experiment:
    """Run a run's folder under an id that two engines have in common, and return its experiment."""
    write_record(folder, {**read_record(folder), "id": identity})
    experiment, _ = read_run(folder)
    if engine == "inprocess":
        run_in_process(folder, experiment=experiment)
    else:
        finish(folder)
    return experiment


def received(folder: Path, *, rounds: tuple[int, ...]) -> dict[tuple[int, str], np.ndarray]:
    """Return (round, site) -> the values that the server has kept."""
    return {
        (number, site): said.values  # type: ignore[attr-defined]
        for number in rounds
        for site, said in load_shared(shared_path(folder, number), number=number).items()
    }


def line_of(text: str, start: str) -> str:
    """Return the rest of the one line that holds a start, as often as it is repeated."""
    (found,) = set(re.findall(f"{re.escape(start)}(.*)", text))
    return str(found)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, three_sites: Path) -> Mapping[str, Path]:
    """Site-1 has defences and site-2 a budget, site-3 has neither; once in one process, once in the simulator."""
    folders = {engine: tmp_path_factory.mktemp("guarded") / engine for engine in ENGINES}
    for engine, folder in folders.items():
        bundles = ("shufflenet_v2", "mobilenet_v2_group", "shufflenet_v2")
        new_run(folder, three_sites, changes=QUICK, bundles=bundles, engine=engine)
        change_site(folder, "site-1", defences=ACCURATE)
        change_site(folder, "site-2", privacy=BUDGET)
        account = {"version": 1, "secret": SECRET, "experiments": {}, "phases": []}  # noise follows from the secret
        write_sealed_json(folder / "sites" / "site-2" / ACCOUNT, account)
        run(folder, engine, identity="guarded")
    return folders


def test_what_the_server_has_received_keeps_to_one_sites_defences(guarded: Mapping[str, Path]) -> None:
    """4 bits: fifteenths that sum to 1; of three classes the likeliest alone is said, the others get the same."""
    for (_, site), values in received(guarded["flare"], rounds=(1, 2)).items():
        units = values.astype(np.float64) * 15
        on_grid = np.abs(units - units.round()).max() < 0.01
        rest = np.sort(units.round(), axis=1)[:, :2]
        if site == "site-1":
            assert values.dtype == np.float16
            assert on_grid
            assert (units.round().sum(axis=1) == 15).all()
            assert np.ptp(rest, axis=1).max() <= 1, "what cannot be halved in fifteenths differs by one"
        else:
            assert values.dtype == np.float32
            assert not on_grid
    own = guarded["flare"] / "sites" / "site-1" / "guarded"
    sent = received(guarded["flare"], rounds=(1, 2))
    assert {array_digest(sent[number, "site-1"]) for number in (1, 2)} <= set(answers_left(own))
    lines = [json.loads(line) for line in (own / LEFT).read_text().splitlines()]
    said = ["the 1 likeliest classes, the rest spread evenly", "4 bits a number"]
    assert all(line["defences"] == said for line in lines)


def test_defences_and_noise_give_the_numbers_of_one_process(guarded: Mapping[str, Path]) -> None:
    """The noise of DP-SGD too, where the site's secret and the experiment are the same."""
    one, flare = (numbers_of(read_rows(guarded[engine] / "results.jsonl")) for engine in ENGINES)
    assert len(flare) == 9
    assert all(row["status"] == "ok" for row in flare)
    assert one == flare
    ours, theirs = (received(guarded[engine], rounds=(1, 2)) for engine in ENGINES)
    for key, values in ours.items():
        np.testing.assert_array_equal(values, theirs[key])
    phases = [json.loads((guarded[engine] / "sites" / "site-2" / ACCOUNT).read_text())["phases"] for engine in ENGINES]
    assert phases[0] == phases[1]
    assert [entry["phase"] for entry in phases[1]] == ["round 0: warm_up", "round 1: train", "round 2: train"]


def test_epsilon_is_shown_where_a_job_runs(guarded: Mapping[str, Path]) -> None:
    folder = guarded["flare"]
    promise = "epsilon 5 at delta 0.001 for each training image, over all experiments; noise for 2 rounds"
    begun = line_of((folder / "flare.log").read_text(), "site site-2 starts: ")
    assert f"; defences: {promise}; spent so far 0.00, after this experiment's planned rounds 5.00; noise" in begun
    left = CliRunner().invoke(leaves_command, [str(folder / "sites" / "site-2" / "guarded")])
    assert f"defences as it left: {promise}" in " ".join(left.output.split())
    status = CliRunner().invoke(status_command, [str(folder / "sites" / "site-2" / "guarded")])
    shown = " ".join(status.output.split())
    assert f"{promise}; spent so far 0.00, after this experiment's planned rounds 5.00" in shown
    row = next(row for row in read_rows(folder / "results.jsonl") if (row["site"], row["round"]) == ("site-2", 1))
    assert row["losses"]["train"] is None
    assert row["seconds"] == {}


def test_a_second_job_that_would_exceed_the_budget_is_refused_by_name(
    tmp_path: Path, guarded: Mapping[str, Path], three_sites: Path
) -> None:
    """It goes on with the other two; the figures stay at the site, whose account is as it was."""
    bundles = ("shufflenet_v2", "mobilenet_v2_group", "shufflenet_v2")
    new_run(tmp_path / "run", three_sites, changes=QUICK, bundles=bundles, engine="flare", rounds=1, min_sites=2)
    state = tmp_path / "state"
    shutil.copytree(guarded["flare"] / "sites" / "site-2", state)
    change_site(tmp_path / "run", "site-2", privacy=BUDGET, state=str(state))
    account = Account(read_site_settings(site_settings_path(tmp_path / "run", "site-2")))
    spent, entered = account.spent(), (state / ACCOUNT).read_bytes()
    assert 4.98 < spent <= 5
    run(tmp_path / "run", "flare", identity="one-too-many")
    rows = {(row["site"], row["round"]): row for row in read_rows(tmp_path / "run" / "results.jsonl")}
    for number in (0, 1):
        assert [rows[site, number]["status"] for site in ("site-1", "site-2", "site-3")] == ["ok", "refused", "ok"]
        assert "site 'site-2': it has spent its privacy budget" in rows["site-2", number]["reason"]
        assert "epsilon" not in rows["site-2", number]["reason"]
    log = (tmp_path / "run" / "flare.log").read_text()
    assert "not ready: site 'site-2': it has spent its privacy budget and trains no more" in log
    assert f"it would be {spent:.3f}, {spent:.3f} of it spent before" in (state / "site.log").read_text()
    assert account.spent() == spent
    assert (state / ACCOUNT).read_bytes() == entered


def flipped(federation: Path, site: str) -> Path:
    """Name every class of one site's training images by the next class's name."""
    path = federation / "sites" / site / "datalist.json"
    listed = json.loads(path.read_text())
    for item in listed["training"]:
        item["label"] = (item["label"] + 1) % 3
    path.write_text(json.dumps(listed))
    return federation


def test_a_site_with_other_names_for_its_classes_is_named_and_put_aside(tmp_path: Path) -> None:
    """It has honestly learned from wrong labels: nothing of it is unusual but what it says."""
    sites = ("site-1", "site-2", "site-3", "site-4")
    federation = flipped(write_federation(tmp_path / "fed", sites=sites, training=48, public=60), "site-4")
    rows: dict[str, list[dict[str, Any]]] = {}
    changes = {"warm_up_epochs": 6, "local_epochs": 1, "ce_weight": 1.0}
    for engine, watch in (("inprocess", "put_aside"), ("flare", "put_aside"), ("told", "tell")):
        folder = tmp_path / engine
        new_run(folder, federation, changes=changes, engine="flare" if engine == "flare" else "inprocess")
        write_record(folder, {**read_record(folder), "watch": watch})
        run(folder, "flare" if engine == "flare" else "inprocess", identity="watched")
        rows[engine] = numbers_of(read_rows(folder / "results.jsonl"))
    assert rows["flare"] == rows["inprocess"]
    told = [[row["losses"]["align"] for row in found if row["site"] == "site-1"] for found in rows.values()]
    assert told[0] == told[1] != told[2], "put aside or not, site-1 learns the same"
    folder = tmp_path / "flare"
    looks = {(row["site"], row["round"]): row["watch"] for row in rows["flare"]}
    assert {site for (site, _), look in looks.items() if look["reasons"] or look["copies"]} == {"site-4"}
    assert looks["site-4", 2]["aside"]
    assert looks["site-4", 2]["trust"] == 0
    first = looks["site-4", 2]["first"]
    reason = "; ".join(looks["site-4", first]["reasons"])
    log = (folder / "flare.log").read_text()
    assert f"round {first}: site 'site-4' stands out: {reason}" in log
    assert f"round {first}: site 'site-4' is put aside: it teaches nobody" in log
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["sites"]["site-4"]["stood_out"][0] == {"round": first, "reason": reason}
    assert summary["sites"]["site-4"]["aside"]
    assert not any("stood_out" in summary["sites"][site] for site in sites[:3])
    done = CliRunner().invoke(watch_command, [str(folder)])
    assert done.exit_code == 0, done.output
    assert f"round {first}, site-4: {reason}" in done.output
    assert done.output.endswith("site-4: put aside\n")
    assert "site-1" not in done.output

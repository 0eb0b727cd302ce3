"""How an experiment stands, read from its files while others write them, and what is made of files of any content."""

import hashlib
import json
import os
import shutil
import threading
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from fakes.damage import edit_json
from fakes.hostile import WORST, hidden_in, texts
from fakes.run_folders import SITES, write_federation, write_run
from fakes.simulated import changes_for, new_run, site_of, tiny_bundle
from hypothesis import HealthCheck, example, given, settings

from mdhfl.commands.status import status_command
from mdhfl.flare import home
from mdhfl.rounds.experiment import Experiment
from mdhfl.rounds.loop import LATE
from mdhfl.runs.folder import read_record, write_record
from mdhfl.runs.inprocess import run_in_process
from mdhfl.runs.progress import Step, note_step, read_steps
from mdhfl.server.journal import append_rows, read_rows
from mdhfl.sharing.messages import Answer, Request
from mdhfl.status.page import render
from mdhfl.status.places import find, read, read_all
from mdhfl.status.record import Status
from mdhfl.store.lock import FolderLock


@pytest.fixture
def run(tmp_path: Path, federation: Path) -> tuple[Path, Experiment]:
    """A run of a tiny network that has not begun."""
    bundles = (str(tiny_bundle(tmp_path / "tiny")),)
    return tmp_path / "run", new_run(tmp_path / "run", federation, bundles=bundles, changes=changes_for("mdhfl"))


def state_of(folder: Path) -> dict[str, tuple[str, int]]:
    """Return digest and time of every file below a folder."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(p): (hashlib.sha256(p.read_bytes()).hexdigest(), p.stat().st_mtime_ns) for p in files}


def test_a_run_is_followed_from_its_first_answer_to_its_end(run: tuple[Path, Experiment]) -> None:
    folder, experiment = run
    seen: list[Status] = []

    def look(request: Request, answer: Answer) -> None:
        before = state_of(folder)
        seen.append(read(folder))
        assert state_of(folder) == before, "whoever looks must write nothing"
        with pytest.raises(OSError, match="in use by another run"):
            FolderLock(folder, name="results.lock", way_out="")

    run_in_process(folder, experiment=experiment, on_answer=look)
    assert [status.headline for status in seen] == [
        "Round 0 of 2: 1 of 2 sites have answered; waiting for site-2.",
        "Round 0 of 2: 2 of 2 sites have answered.",
        "Round 1 of 2: 1 of 2 sites have answered; waiting for site-2.",
        "Round 1 of 2: 2 of 2 sites have answered.",
        "Round 2 of 2: 1 of 2 sites have answered; waiting for site-2.",
        "Round 2 of 2: 2 of 2 sites have answered.",
        "Round 2 of 2 is recorded; the sites are finishing.",
        "Round 2 of 2 is recorded; the sites are finishing.",
    ]
    assert {status.state for status in seen} == {"running"}
    assert [site.state for site in seen[0].sites] == ["answered", "at work"]
    assert seen[0].facts["process"] == f"{os.getpid()} works on it"
    ended = read(folder)
    assert (ended.state, ended.done, ended.total) == ("finished", 2, 2)
    assert ended.facts["process"] == "nobody works on it"
    for site, row in zip(ended.sites, read_rows(folder / "results.jsonl")[-2:], strict=True):
        assert (site.name, site.part, site.round) == (row["site"], "test", 2)
        assert site.scores == {name: row["test"][name] for name in site.scores}
        assert site.scores["accuracy"] == row["test"]["accuracy"]
        assert site.seconds == row["seconds"]
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert ended.facts["disk"].startswith(f"{size / 1000:.1f} kB")


def test_a_site_is_followed_while_it_trains(run: tuple[Path, Experiment]) -> None:
    folder, experiment = run
    site = site_of(folder, "site-1")
    place = folder / "sites" / "site-1" / experiment.id
    seen: list[Status] = []

    def look() -> bool:
        seen.append(read(place))
        return False

    site.answer(experiment.request("open", number=0))
    waiting = read(place)
    assert waiting.headline == "The site waits for the server. No round is finished yet."
    assert waiting.facts["images"] == "24 training, 12 validation, 12 test, 20 public"
    assert waiting.facts["classes"] == "blue, red, green"
    assert waiting.facts["bundle"].endswith("147 parameters")
    answer = site.answer(experiment.request("warm_up", number=0), should_stop=look)
    assert seen[0].headline.startswith("The site trains in the warm-up, round 0, begun ")
    assert (seen[0].state, seen[0].sites[0].state) == ("running", "at work")
    after = read(place)
    assert after.done == 0
    assert answer.validation is not None
    assert after.sites[0].seconds == answer.cost.seconds
    assert 0 <= after.sites[0].scores["accuracy"] <= 1
    site.answer(experiment.request("finish", number=0))
    site.close()
    assert read(place).state == "finished"
    again = site_of(folder, "site-1")  # its process was started anew
    again.answer(experiment.request("open", number=1))
    assert (read(place).state, read(place).done) == ("running", 0)
    again.close()
    stopped = read(place)
    assert stopped.state == "stopped"
    assert stopped.headline.startswith("Nobody works on it. The last finished round is 0")


def test_a_site_that_refuses_says_why(run: tuple[Path, Experiment]) -> None:
    folder, experiment = run
    site = site_of(folder, "site-1")
    request = experiment.request("learn", number=5, answered=("site-1",))
    refusal = site.answer(request).refusal
    status = read(folder / "sites" / "site-1" / experiment.id)
    assert [(refused.round, refused.reason) for refused in status.refusals] == [(5, refusal)]
    assert status.sites[0].standing == "refused in round 5"


def test_a_site_that_another_process_works_for_is_not_told_of_in_its_file(run: tuple[Path, Experiment]) -> None:
    folder, experiment = run
    site, other = site_of(folder, "site-1"), site_of(folder, "site-1")
    site.answer(experiment.request("open", number=0))
    place = folder / "sites" / "site-1" / experiment.id
    before = (place / "status.json").read_bytes()
    assert "(in_use; " in other.answer(experiment.request("open", number=0)).refusal
    assert (place / "status.json").read_bytes() == before
    site.close()


def test_refused_and_absent_sites_are_told_apart(tmp_path: Path) -> None:
    refused = {(2, "site-2"): "it ran out of memory", (3, "site-3"): LATE}
    folder = write_run(
        tmp_path / "run", federation=write_federation(tmp_path / "fed"), rounds=9, recorded=3, refused=refused
    )
    status = read(folder)
    assert status.state == "stopped"
    assert "it stopped after round 3 of 9. Submit or resume it" in status.headline
    assert [site.standing for site in status.sites] == ["answered", "answered", "absent in round 3", "answered"]
    assert [site.round for site in status.sites] == [3, 3, 2, 3]
    told = [(each.round, each.site, each.reason) for each in status.refusals]
    assert told == [(3, "site-3", LATE), (2, "site-2", "it ran out of memory")]


def test_sites_that_get_ready_and_one_that_cannot(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", federation=write_federation(tmp_path / "fed"), rounds=9, recorded=3)
    with FolderLock(folder, name="results.lock", way_out=""):
        assert read(folder).headline.startswith("Starting: 0 of 4 sites are ready; waiting for site-1, site-2")
        note_step(folder, Step(action="open", round=4, site="site-1", refusal=""))
        note_step(folder, Step(action="open", round=4, site="site-2", refusal="it runs another version"))
        status = read(folder)
    assert status.headline == "Starting: 2 of 4 sites are ready; waiting for site-3, site-4."
    assert [site.standing for site in status.sites] == ["ready", "refused in round 4", "at work", "at work"]
    assert status.refusals[0].reason == "it runs another version"


def test_whoever_looks_while_rounds_are_written_sees_whole_rounds(tmp_path: Path) -> None:
    """A writer adds rounds as fast as it can; every look finds the rounds up to one of them, and nothing damaged."""
    folder = write_run(tmp_path / "run", federation=write_federation(tmp_path / "fed"), rounds=60, recorded=60)
    rows = read_rows(folder / "results.jsonl")
    for name in ("summary.json", "results.jsonl"):
        (folder / name).unlink()
    written = threading.Event()

    def write() -> None:
        for number in range(61):
            append_rows(folder / "results.jsonl", [row for row in rows if row["round"] == number])
            write_record(folder, record)
        written.set()

    record = read_record(folder)
    thread = threading.Thread(target=write)
    thread.start()
    seen = []
    while not written.is_set():
        seen.append(read(folder))
    thread.join()
    assert len(seen) > 5
    assert all(status.state == "stopped" and not status.notes for status in seen), [s.notes for s in seen if s.notes]
    done = [-1 if status.done is None else status.done for status in seen]
    assert done == sorted(done)
    assert read(folder).done == 60


def test_half_a_line_and_an_interrupted_write_are_the_generation_before(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", federation=write_federation(tmp_path / "fed"), rounds=9, recorded=3)
    before = read(folder)
    row = read_rows(folder / "results.jsonl")[-1]
    append_rows(folder / "results.jsonl", [{**row, "round": 4, "site": "site-1"}])
    assert (read(folder).done, read(folder).sites) == (3, before.sites)  # a round that is not there for all sites yet
    with (folder / "results.jsonl").open("ab") as file:
        file.write(b'{"round":4,"site":"sit')
    (folder / "experiment.json.99999.tmp").write_text('{"version":')
    assert (read(folder).done, read(folder).sites) == (before.done, before.sites)


def test_a_line_of_progress_that_a_full_disk_has_cut_is_left_out(tmp_path: Path) -> None:
    note_step(tmp_path, Step(action="learn", round=1, site="a", refusal=""))
    with (tmp_path / "progress.jsonl").open("a") as file:
        file.write('{"action": "learn", "ro')
    for site in ("b", "c"):
        note_step(tmp_path, Step(action="learn", round=1, site=site, refusal=""))
    assert [step.site for step in read_steps(tmp_path)] == ["a", "c"]


def test_a_damaged_folder_is_one_note_and_the_others_are_read(tmp_path: Path) -> None:
    federation = write_federation(tmp_path / "fed")
    for name in ("a", "b"):
        write_run(tmp_path / "experiments" / name, federation=federation)
    lines = (tmp_path / "experiments" / "a" / "results.jsonl").read_text().replace("0.2", "0.3", 1)
    (tmp_path / "experiments" / "a" / "results.jsonl").write_text(lines)
    (tmp_path / "experiments" / "c").mkdir()
    (tmp_path / "experiments" / "c" / "status.json").write_text('{"doing": 7, "last": [], "start": "x"}')
    shutil.copytree(Path(__file__).parents[1] / "fakes" / "run-0.1.0", tmp_path / "experiments" / "old")
    states = {status.experiment: status.state for status in read_all(tmp_path)}
    assert sorted(states.values()) == ["finished", "unreadable", "unreadable", "unreadable"]
    (old,) = [status for status in read_all(tmp_path) if status.experiment == "old"]
    assert "of version 0.1.0" in old.notes[0]
    assert str(tmp_path) not in old.notes[0]


def test_kits_and_their_folders_are_found(tmp_path: Path, run: tuple[Path, Experiment]) -> None:
    folder, experiment = run
    run_in_process(folder, experiment=experiment)
    server, site = tmp_path / "kits" / "server", tmp_path / "kits" / "site-1"
    kept = server / "experiments" / experiment.id
    kept.mkdir(parents=True)
    for name in ("results.jsonl", "summary.json"):
        shutil.copy(folder / name, kept / name)
    home.describe(kept, experiment=experiment)
    (site / "local").mkdir(parents=True)
    state = folder / "sites" / "site-1"
    shutil.copy(state / "site.json", site / "local" / "site.json")
    edit_json(site / "local" / "site.json", state=str(state))
    assert find(server) == find(server / "experiments") == find(kept) == [kept]
    assert find(site) == find(state) == [state / experiment.id]
    assert find(tmp_path) == [folder]
    assert [status.role for status in (read(kept), read(state / experiment.id))] == ["server", "site"]
    assert read(kept).sites == read(folder).sites


def test_the_command_shows_all_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    federation = write_federation(tmp_path / "fed")
    refused = {(1, "site-2"): "it ran out of memory"}
    for name in ("a", "b"):
        write_run(tmp_path / name, federation=federation, refused=refused)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)
    shown = CliRunner().invoke(status_command, ["b"], catch_exceptions=False).output
    for expected in ("finished", "after round 3", "site-4", "0.745", "train 3.1", "disk: ", "it ran out of memory"):
        assert expected in shown, expected
    both = CliRunner().invoke(status_command, [], catch_exceptions=False).output
    assert "Experiments, the last changed first" in both
    with pytest.raises(ValueError, match="expected a folder or an experiment's id, found neither; experiments here: a"):
        CliRunner().invoke(status_command, ["c"], catch_exceptions=False)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no experiment here; expected a run's folder"):
        CliRunner().invoke(status_command, ["empty"], catch_exceptions=False)


def hostile_run(folder: Path, text: str) -> Path:
    sites = (f"{text} a", f"b {text}")
    federation = write_federation(folder / "fed", sites=SITES[:2])
    refused = {(0, sites[1]): text, (1, sites[1]): f"{folder}/x.png: {text}"}
    run = write_run(folder / "run", federation=federation, sites=sites, rounds=4, recorded=1, refused=refused)
    place = folder / "site" / "x"
    place.mkdir(parents=True)
    last = {"round": 1, "test": None, "seconds": {text: 1.0}}
    start = dict.fromkeys(("bundle", "architecture", "device", "threads"), text)
    start |= {"parameters": 1, "images": {text: 3}, "classes": [text]}
    said = {"site": text, "experiment": text, "method": text, "doing": None, "last": last, "start": start}
    said["refused"] = {"round": 0, "reason": text}
    (place / "status.json").write_text(json.dumps(said))
    return run


@given(texts())
@example(WORST)
@settings(deadline=None, max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_stands_in_the_files_is_shown_and_never_obeyed(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    folder = tmp_path_factory.mktemp("any")
    run = hostile_run(folder, text)
    for place in (run, folder / "site"):
        (status,) = read_all(place)
        assert status.state != "unreadable", status.notes
        page = render([status], place="here")
        assert not hidden_in(page)
        assert page.count("<script") == 1
        assert not any(tag in page for tag in ("<img", "<svg", "<b>x", "<iframe"))
        assert str(folder) not in page
        shown = CliRunner().invoke(status_command, [str(place)], catch_exceptions=False).output
        assert not hidden_in(shown)
        assert str(folder) not in shown.replace(str(place), "")


def test_rows_are_read_once_however_often_somebody_looks(tmp_path: Path) -> None:
    sites = tuple(f"site-{number}" for number in range(30))
    federation = write_federation(tmp_path / "fed", sites=sites)
    folder = write_run(tmp_path / "run", federation=federation, sites=sites, rounds=19)
    spent = []
    for _ in range(2):
        began = time.process_time()
        assert len(read(folder).sites) == 30
        spent.append(time.process_time() - began)
    assert spent[1] < spent[0] / 3
    append_rows(folder / "results.jsonl", [{**row, "round": 20} for row in read_rows(folder / "results.jsonl")[-30:]])
    assert read(folder).done == 20

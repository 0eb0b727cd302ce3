"""Processes that die or stop, in FLARE's POC mode: the others go on, and all is whole again without a human.

`make faults` runs all of it and measures what docs/reliability.md shows; without it the longest are left out.
"""

import json
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from fakes.faults import DEADLINE, MEASURED, NOTHING, SITES, Log, Poc, first_job, record, supervised, wait_for
from fakes.poc import (
    ADMIN,
    call,
    environment_of,
    left_behind,
    prepare_kits,
    running_poc,
    session_of,
    stop,
    submit,
    wait_until_finished,
)

from mdhfl.flare.poc import own_port
from mdhfl.flare.processes import processes_of, sweep
from mdhfl.learning.bundle import find_bundle

pytestmark = pytest.mark.slow
longest = pytest.mark.skipif(MEASURED is None, reason="takes minutes: `make faults` runs it")
ENDLESS = 500  # rounds of a job that is aborted at its end


@pytest.fixture(scope="module")
def poc(tmp_path_factory: pytest.TempPathFactory, federation: Path) -> Iterator[Poc]:
    folder = tmp_path_factory.mktemp("faults")
    with running_poc(folder, federation, sites=SITES, may_share="knowledge,weights") as kits:
        yield Poc(folder=folder, kits=kits, federation=federation)


def test_a_sites_process_that_is_killed_or_stopped_comes_back_in_the_same_job(poc: Poc) -> None:
    job_id = poc.submit("killed", rounds=ENDLESS)
    log = Log.of(poc.kits / "site-1" / "log.txt")
    for fault, harm, said in (
        ("a site's job process is killed (kill -9, out of memory)", signal.SIGKILL, "the job's process was killed"),
        ("a site's job process is stopped (SIGSTOP)", signal.SIGSTOP, "the job's process has been stopped"),
    ):
        before, back = len(poc.rows("killed")), poc.back("killed")
        start = time.monotonic()
        poc.job_process("site-1", job_id).send_signal(harm)
        wait_for(log.says(said))
        detected = time.monotonic() - start
        wait_for(back)
        whole = time.monotonic() - start
        record(fault, detected=detected, whole=whole, lost=poc.lost("killed", after=before), reads=log.line(said))
    with session_of(poc.kits) as session:
        session.abort_job(job_id)
    assert wait_until_finished(poc.kits, job_id) == "FINISHED:ABORTED"
    rows = poc.rows("killed")
    assert {row["status"] for row in rows if row["site"] == "site-2"} == {"ok"}
    assert {row["reason"] for row in rows if row["status"] != "ok"} <= {"no answer before the round's deadline"}


@pytest.mark.parametrize(
    ("fault", "parent"),
    [
        pytest.param("the server's machine fails: server and job are killed, the script starts the server", True),
        pytest.param("the server's job process is killed", False, marks=longest),
    ],
)
def test_a_server_that_is_killed_continues_without_a_human(poc: Poc, fault: str, parent: bool) -> None:
    """`mdhfl supervise` submits the job again; the old one does not run for ever."""
    name = "server" if parent else "server-job"
    with supervised(poc, name, rounds=3) as (process, said):
        wait_for(lambda: poc.rows(name))
        old = first_job(said)
        before, back = len(poc.rows(name)), poc.back(name)
        start = time.monotonic()
        for one in poc.parents("server") if parent else [poc.job_process("server", old)]:
            one.kill()
        ended = f"job {old}: FINISHED:" + ("ABANDONED" if parent else "EXECUTION_EXCEPTION")
        wait_for(said.says(ended))
        detected = time.monotonic() - start
        wait_for(back)
        whole = time.monotonic() - start
        assert process.wait(timeout=240) == 0, said.path.read_text()
    reads = said.line(f"the server does not answer|{ended}" if parent else ended)  # it may be back before it is asked
    assert poc.lost(name, after=before) == NOTHING
    assert [row["round"] for row in poc.rows(name)] == [0, 0, 1, 1, 2, 2, 3, 3]
    record(fault, detected=detected, whole=whole, lost="nothing; the round in work is asked again", reads=reads)
    with session_of(poc.kits) as session:
        assert {str(job["status"]).partition(":")[0] for job in session.list_jobs()} == {"FINISHED"}


@longest
def test_a_sites_client_that_is_killed_takes_its_stopped_job_along(poc: Poc) -> None:
    """The script starts the client again; the site takes part from the next job on."""
    job_id = poc.submit("client", rounds=3)
    job = poc.job_process("site-1", job_id)
    job.send_signal(signal.SIGSTOP)
    (client,) = [one for one in poc.parents("site-1") if one.pid != job.pid]
    start = time.monotonic()
    client.kill()
    wait_for(lambda: not job.is_running() or job.status() == psutil.STATUS_ZOMBIE, seconds=5)
    wait_for(lambda: poc.lost("client") != NOTHING)
    detected = time.monotonic() - start
    reads = f"{poc.missed('client')[0]['site']}: {poc.missed('client')[0]['reason']}"
    status = wait_until_finished(poc.kits, job_id)  # with all results, and yet FLARE may call it abnormal
    assert status in ("FINISHED:COMPLETED", "FINISHED:ABNORMAL")
    assert poc.rows("client")[-1]["round"] == 3
    submit(poc.kits, poc.job("client", rounds=4, deadline=120.0), sites=len(SITES))
    wait_for(poc.back("client"))
    whole = time.monotonic() - start
    record(
        "a site's client is killed while its job process stands still",
        detected=detected,
        whole=whole,
        lost=f"{poc.lost('client')}: the rest of the job",
        reads=reads,
    )


@longest
def test_a_site_whose_process_dies_again_and_again_is_left_behind(poc: Poc) -> None:
    job_id = poc.submit("again", rounds=8)
    log = Log.of(poc.kits / "server" / job_id / "log.txt")
    gone = Log.of(poc.kits / "site-1" / "log.txt").says("restarts left: 0|child worker process finished")
    start = time.monotonic()
    while not gone():
        for one in processes_of(poc.kits / "site-1"):
            if job_id in one.info["cmdline"]:
                one.kill()
        time.sleep(0.2)
    said = "Client site-1 is deemed disconnected"
    wait_for(log.says(said))
    detected, reads = time.monotonic() - start, log.line(said)
    assert wait_until_finished(poc.kits, job_id) == "FINISHED:COMPLETED"
    submit(poc.kits, poc.job("again", rounds=9, deadline=120.0), sites=len(SITES))
    wait_for(poc.back("again"))
    record(
        "a site's job process is killed six times",
        detected=detected,
        whole=time.monotonic() - start,
        lost=f"{poc.lost('again')}: the rest of the job",
        reads=reads,
    )


@longest
def test_a_leader_that_dies_while_it_merges_is_no_loss_for_the_swarm(poc: Poc) -> None:
    name = "swarm"
    job_id = submit(poc.kits, poc.job(name, rounds=3, recipe="sl_fedl", deadline=120.0), sites=len(SITES))
    said = r"assigned task to client \S+: name=merge"
    log = Log(path=poc.kits / "server" / job_id / "log.txt", skipped=0)
    wait_for(log.says(said))
    leader = str(log.line(said)).split()[4].rstrip(":")
    killed = Log.of(poc.kits / leader / "log.txt")
    start, last = time.monotonic(), poc.rows(name)[-1]["round"]
    poc.job_process(leader, job_id).kill()
    wait_for(killed.says("the job's process was killed"))
    detected = time.monotonic() - start

    def merged() -> bool:
        rows = [row for row in poc.rows(name) if row["round"] > last and row["status"] == "ok"]
        return {row["site"] for row in rows if row["about"]["merged_by"]} == set(SITES)

    wait_for(merged)
    record(
        "the leader of a swarm is killed while it merges",
        detected=detected,
        whole=time.monotonic() - start,
        lost=poc.lost(name),
        reads=killed.line("the job's process was killed"),
    )
    assert wait_until_finished(poc.kits, job_id) == "FINISHED:COMPLETED"


@longest
def test_a_start_that_takes_longer_than_the_deadline_costs_no_round(poc: Poc, tmp_path: Path) -> None:
    """A network that takes its time: the round's clock runs from when it is there."""
    longer = 2 * DEADLINE
    shutil.copytree(find_bundle("resnet10"), tmp_path / "slow")
    path = tmp_path / "slow" / "configs" / "train.yaml"
    slow = f"batch_size: \"$__import__('time').sleep({longer}) or 16\""
    path.write_text(re.sub(r"(?m)^batch_size:.*$", slow, path.read_text()))
    settings = poc.kits / "site-1" / "local" / "site.json"
    before = settings.read_text()
    settings.write_text(json.dumps({**json.loads(before), "bundle": str(tmp_path / "slow")}))
    try:
        start = time.monotonic()
        job_id = poc.submit("slow", rounds=1)
        whole = time.monotonic() - start
        assert wait_until_finished(poc.kits, job_id) == "FINISHED:COMPLETED"
    finally:
        settings.write_text(before)
    assert whole > longer
    assert {row["status"] for row in poc.rows("slow")} == {"ok"}
    record(
        f"a site needs {longer:.0f} s to start, with a deadline of {DEADLINE:.0f} s",
        detected=0.0,
        whole=whole,
        lost=poc.lost("slow"),
        reads="nothing: the first round begins later",
    )


@longest
def test_a_system_that_is_stopped_takes_a_stopped_job_along(tmp_path: Path, federation: Path) -> None:
    with running_poc(tmp_path, federation, sites=SITES) as kits:
        poc = Poc(folder=tmp_path, kits=kits, federation=federation)
        job_id = poc.submit("stopped", rounds=ENDLESS)
        poc.job_process("site-1", job_id).send_signal(signal.SIGSTOP)
        start = time.monotonic()
        stop(tmp_path, kits)
        took = time.monotonic() - start
    record(
        "`nvflare poc stop` while a site's job process is stopped",
        detected=took,
        whole=took,
        lost="nothing; the round in work is asked again",
        reads="nothing: no process is left",
    )


def test_what_a_failed_start_leaves_is_swept_away(tmp_path: Path, federation: Path) -> None:
    with own_port() as port:
        kits = prepare_kits(tmp_path, federation, sites=SITES, port=port)
    try:
        failed = subprocess.run(
            ["nvflare", "poc", "start", "-ex", ADMIN, "--timeout", "1"],
            env=environment_of(tmp_path),
            capture_output=True,
            text=True,
        )
        assert failed.returncode != 0
        assert left_behind(kits, seconds=0), "the start left nothing behind: this test shows nothing"
        start = time.monotonic()
        said = call(tmp_path, "mdhfl", "sweep", *(str(kits / name) for name in ("server", *SITES)))
        took = time.monotonic() - start
        assert "ended" in said
        assert not left_behind(kits, seconds=0)
        record(
            "`nvflare poc start` gives up, its processes go on: `mdhfl sweep` ends them",
            detected=0.0,
            whole=took,
            lost=NOTHING,
            reads="POC system did not become ready before the startup timeout",
        )
    finally:
        for name in ("server", *SITES):
            sweep(kits / name)

"""In POC mode, as in one process: one site's defences hold in what the server gets, and a poisoner weighs less."""

import json
from pathlib import Path

import numpy as np
import pytest
from fakes.poc import running_poc, submit, wait_until_finished
from fakes.simulated import new_run, numbers_of
from fakes.small_federation import write_federation
from test_trust import change_site, flipped, received, run

from mdhfl.commands.recipe import experiment_on
from mdhfl.flare.job import export_job
from mdhfl.jobs import RECIPES
from mdhfl.runs.folder import read_record, write_record
from mdhfl.server.journal import read_rows

pytestmark = pytest.mark.slow
SITES = ("site-1", "site-2", "site-3", "site-4")
SET = {"warm_up_epochs": 6, "local_epochs": 1, "ce_weight": 1.0}
TOLD = ("scores", "minimum_images", "minimum_classes", "smallest_count")  # what a kit's site tells less of


def test_defences_and_the_watch_hold_in_poc_mode_as_in_one_process(tmp_path: Path) -> None:
    """Site-1 answers in 4 bits, site-4 has learned other names for its classes, the server weighs who stands out."""
    federation = flipped(write_federation(tmp_path / "fed", sites=SITES, training=48, public=60), "site-4")
    with running_poc(tmp_path, federation, sites=dict.fromkeys(SITES, "shufflenet_v2")) as kits:
        changed = kits / "site-1" / "local" / "site.json"
        changed.write_text(json.dumps({**json.loads(changed.read_text()), "defences": {"precision": 4}}))
        pairs = tuple(f"{name}={value}" for name, value in SET.items())
        experiment = experiment_on(
            RECIPES["mdhfl"],
            federation=federation,
            identity="watched",
            seed=0,
            rounds=2,
            pairs=pairs,
            watch="weigh",
        )
        job = export_job(experiment, name="mdhfl", out=tmp_path / "jobs", round_timeout=300.0)
        job_id = submit(kits, job, sites=len(SITES))
        assert wait_until_finished(kits, job_id) == "FINISHED:COMPLETED", (kits / "server" / "log.txt").read_text()
    results = kits / "server" / "experiments" / "watched"
    one = tmp_path / "one"
    new_run(one, federation, changes=SET, bundles=("shufflenet_v2",))
    write_record(one, {**read_record(one), "watch": "weigh"})
    for site in SITES:
        kit = json.loads((kits / site / "local" / "site.json").read_text())
        change_site(one, site, **{name: kit[name] for name in (*TOLD, "defences") if name in kit})
    run(one, "inprocess", identity="watched")
    rows = numbers_of(read_rows(results / "results.jsonl"))
    assert rows == numbers_of(read_rows(one / "results.jsonl"))
    looks = {(row["site"], row["round"]): row["watch"] for row in rows}
    # round 2, since site-1 may stand out before: 4 bits of what has learned little can be the same of every image
    assert [site for site in SITES if looks[site, 2]["reasons"]] == ["site-4"]
    assert looks["site-1", 2]["trust"] == 1
    assert 0 < looks["site-4", 2]["trust"] < 1
    for (number, site), values in received(results, rounds=(1, 2)).items():
        units = values.astype(np.float64) * 15
        assert (np.abs(units - units.round()).max() < 0.01) == (site == "site-1"), (number, site)

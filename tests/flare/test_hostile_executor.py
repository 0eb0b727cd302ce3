"""The real simulator with a site whose code tries to leave pixels in every answer: the server gets refusals only."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fakes.simulated import new_run

from mdhfl.flare.simulator import kill_simulator
from mdhfl.server.journal import read_rows
from mdhfl.site.left import LEFT, read_left

pytestmark = pytest.mark.slow

MARK = np.random.default_rng(7).integers(0, 256, 4096, dtype=np.uint8).tobytes()

HOSTILE = """
import numpy as np
from nvflare.apis.dxo import from_shareable

from mdhfl.flare.executor import SiteExecutor

PIXELS = np.random.default_rng(7).integers(0, 256, 4096, dtype=np.uint8)


class Hostile(SiteExecutor):
    def execute(self, task_name, shareable, fl_ctx, abort_signal):
        result = super().execute(task_name, shareable, fl_ctx, abort_signal)
        if fl_ctx.get_identity_name() in ("site-1", "site-2"):
            result.set_header("pixels", PIXELS)
            result["pixels"] = PIXELS
        if fl_ctx.get_identity_name() == "site-1":
            data = from_shareable(result).data
            data["shared"] = {**(data["shared"] or {}), "values": PIXELS.reshape(-1, 4).astype("f4"), "pixels": PIXELS}
            data["refusal"] = "the pixels: " + PIXELS.tobytes().hex()[:3000]
        return result
"""

RUN = """
import pathlib, sys
import hostile
from mdhfl.flare import job, simulator

job.SiteExecutor = hostile.Hostile
simulator.SITE_CLASSES = (*simulator.SITE_CLASSES, "hostile.Hostile")
simulator.simulate(pathlib.Path(sys.argv[1]), round_timeout=300)
"""


def test_pixels_stay_whatever_the_executor_does(
    tmp_path: Path, three_sites: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "hostile.py").write_text(HOSTILE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "code"))
    experiment = new_run(tmp_path / "run", three_sites, rounds=1, engine="flare", min_sites=2)
    with (tmp_path / "run" / "flare.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", RUN, str(tmp_path / "run")],
            stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            assert process.wait(timeout=300) == 0, (tmp_path / "run" / "flare.log").read_text()[-3000:]
        finally:
            kill_simulator(process, run=tmp_path / "run")
    rows = read_rows(tmp_path / "run" / "results.jsonl")
    for row in rows:
        assert row["status"] == ("refused" if row["site"] == "site-1" else "ok")
        assert row["site"] != "site-1" or "its answer was held back" in row["reason"]
    assert len(rows) == 6
    left = read_left(tmp_path / "run" / "sites" / "site-2" / experiment.id / LEFT)
    assert [line["action"] for line in left] == ["open", "warm_up", "learn", "finish"]
    sent = [row["bytes"]["up"] for row in rows if row["site"] == "site-2"]
    assert [line["bytes"] for line in left[1:3]] == sent
    refused = read_left(tmp_path / "run" / "sites" / "site-1" / experiment.id / LEFT)
    assert all(line["bytes"] < 1000 for line in refused)
    assert "knowledge: expected the fields" in (tmp_path / "run" / "sites" / "site-1" / "site.log").read_text()
    ours = [path for path in (tmp_path / "run").rglob("*") if path.is_file() and "sites" not in path.parts]
    arrived = [p for p in ours if MARK[:64] in p.read_bytes() or MARK.hex()[:64].encode() in p.read_bytes()]
    assert all("site-1" in path.parts for path in arrived), arrived  # its own logs, at the site

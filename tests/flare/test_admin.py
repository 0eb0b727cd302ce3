"""The administrator's session, with FLARE's own client: whatever interrupts it, the program ends."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fakes.simulated import heed_ctrl_c

from mdhfl.flare.poc import own_port, prepare_kits

ASK = """
import contextlib, logging, sys
from pathlib import Path
from mdhfl.flare.admin import FlareServer
from mdhfl.flare.supervise import NotReached
logging.getLogger().addHandler(logging.NullHandler())
with contextlib.closing(FlareServer(Path(sys.argv[1]))) as server:
    while True:
        print("asking", flush=True)
        with contextlib.suppress(NotReached):
            server.missing(["site-1"])
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("moment", [0.5, 5.0], ids="after-{}-s".format)
def test_ctrl_c_ends_a_program_that_connects(moment: float, tmp_path: Path) -> None:
    """FLARE's threads of a connection that nobody closes keep a program from ending."""
    with own_port() as port:
        kits = prepare_kits(tmp_path, sites=["site-1"], port=port)
        with subprocess.Popen(
            [sys.executable, "-c", ASK, str(kits.admin)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=heed_ctrl_c,
        ) as process:
            try:
                assert process.stdout
                assert process.stdout.readline() == "asking\n"
                time.sleep(moment)
                process.send_signal(signal.SIGINT)
                _, error = process.communicate(timeout=120)
            finally:
                process.kill()
    assert process.returncode == -signal.SIGINT
    assert error.rstrip().endswith("KeyboardInterrupt")

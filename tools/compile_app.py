"""Compile the MDH-FL recipe into `app/config` and `meta/meta.json`: what a site's IT reads before saying yes.

Like a lock file: `make app` writes it, a test holds it to the recipe. The federation is the card in
`meta/federations/demo.json`, the one that `make demo` prepares.
"""

import shutil
import tempfile
from pathlib import Path

from mdhfl.commands.recipe import experiment_on
from mdhfl.files import shipped_folder
from mdhfl.flare.job import export_job
from mdhfl.jobs.mdh_fl import RECIPE

COMPILED = {
    "app/config/config_fed_server.json": "app/config/config_fed_server.json",
    "app/config/config_fed_client.json": "app/config/config_fed_client.json",
    "meta.json": "meta/meta.json",
}


def compile_app(root: Path) -> None:
    """Write the compiled job under a root folder."""
    card = shipped_folder("meta") / "federations" / "demo.json"
    with tempfile.TemporaryDirectory() as folder:
        federation = Path(folder) / "federation"
        federation.mkdir()
        shutil.copy(card, federation / "federation.json")
        experiment = experiment_on(RECIPE, federation=federation, identity="demo", seed=0, rounds=None, pairs=())
        job = export_job(experiment, name=RECIPE.name, out=Path(folder) / "jobs")
        for source, target in COMPILED.items():
            (root / target).parent.mkdir(parents=True, exist_ok=True)
            (root / target).write_text((job / source).read_text(encoding="utf-8").rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    compile_app(shipped_folder("meta").parent)

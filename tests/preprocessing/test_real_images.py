"""Real blood cells end to end: Acevedo_20 at four sites with four architectures, public Matek_19 images."""

import json
from pathlib import Path

import pytest
from fakes.simulated import new_run

from mdhfl.preprocessing.arguments import PrepareArguments
from mdhfl.preprocessing.folder.verify import verify_federation
from mdhfl.preprocessing.prepare import prepare
from mdhfl.runs.folder import BUILT_IN_BUNDLES
from mdhfl.runs.inprocess import run_in_process


@pytest.mark.slow
def test_acevedo_and_matek_end_to_end(tmp_path: Path, shared_data: Path) -> None:
    arguments = PrepareArguments(
        source="acevedo20",
        raw=shared_data / "acevedo20_native_subset.zip",
        label_space="cytomorphology13",
        public="matek19",
        public_raw=shared_data / "matek19_subset.zip",
        sites=4,
        per_site=40,
        noise="pairflip",
        noise_rate=(0.3,),
        image_size=32,
        crop=("200",),
        out=tmp_path / "fed",
    )
    prepare(arguments, workers=1)
    assert verify_federation(tmp_path / "fed", pixels=True) == []
    card = json.loads((tmp_path / "fed" / "sites" / "site-1" / "card.json").read_text())
    assert card["noise"]["realised_rate"] == pytest.approx(0.3, abs=0.03)
    assert len(card["classes"]) == 13
    assert "smudge_cell" in card["missing_classes"]  # Acevedo_20 has none
    experiment = new_run(tmp_path / "run", tmp_path / "fed", bundles=BUILT_IN_BUNDLES, rounds=1)
    summary = run_in_process(tmp_path / "run", experiment=experiment)
    assert summary["status"] == "finished"
    for found in summary["sites"].values():
        assert found["accuracy"] is not None
        assert found["recall"][12] is None  # no smudge cell in the test part: marked, not counted as 0
        assert "smudge_cell" in found["missing_classes"]

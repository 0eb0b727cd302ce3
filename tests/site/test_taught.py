"""What a site notes of its teachers: how far they agree with it, and the round in which that falls."""

from pathlib import Path

import numpy as np
from fakes.simulated import changes_for, new_run, tiny_bundle

from mdhfl.runs.inprocess import run_in_process
from mdhfl.site.log import LOG, note_in_log
from mdhfl.site.watched import Watched, read_watched
from mdhfl.status.site import read_site


def test_a_fall_is_told_with_its_round_and_remembered(tmp_path: Path) -> None:
    watched = Watched(tmp_path, site="a")
    assert [watched.taught(number, value) for number, value in ((1, 0.2), (2, 0.7), (3, 0.8))] == ["", "", ""]
    again = Watched(tmp_path, site="a")  # as after a restart
    note = again.taught(4, 0.3)
    assert note.startswith(
        "what was taught agrees 0.30 with this site's own answers, in the rounds before it was up to"
    )
    assert "0.80" in note
    assert "round 4: what was taught agrees 0.30" in read_site(tmp_path).notes[0]
    kept = read_watched(tmp_path)["teachers"]
    assert again.taught(4, 0.75) == "", "the same round again, with another lesson"
    assert [each["round"] for each in kept] == [each["round"] for each in read_watched(tmp_path)["teachers"]]


def test_a_site_notes_every_round_that_it_is_taught_in(tmp_path: Path, three_sites: Path) -> None:
    bundles = (str(tiny_bundle(tmp_path / "tiny")),)
    for recipe in ("mdhfl", "mdhfl_plus", "fedmd", "local"):
        folder = tmp_path / recipe
        changes = changes_for(recipe, **({"competence_epochs": 1, "views": 1} if recipe == "mdhfl_plus" else {}))
        experiment = new_run(folder, three_sites, recipe=recipe, bundles=bundles, changes=changes)
        run_in_process(folder, experiment=experiment)
        said = read_watched(folder / "sites" / "site-1" / experiment.id).get("teachers", [])
        assert [each["round"] for each in said] == ([] if recipe == "local" else [1, 2])
        assert all(-1 <= each["agreement"] <= 1 and np.isfinite(each["agreement"]) for each in said)


def test_a_note_in_the_log_is_one_line(tmp_path: Path) -> None:
    note_in_log(tmp_path / "state", round=3, text="it fell")
    (line,) = (tmp_path / "state" / LOG).read_text().splitlines()
    assert line.endswith("round 3: it fell")

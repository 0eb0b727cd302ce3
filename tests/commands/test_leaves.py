"""`mdhfl leaves` tells what left a site: the same bytes that the server counted."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from fakes.simulated import changes_for, new_run

from mdhfl.commands.leaves import leaves_command
from mdhfl.runs.inprocess import run_in_process
from mdhfl.server.results import Results
from mdhfl.site.left import FRAME, LEFT, note, read_left, sums_of

ROUNDS = ("warm_up", "learn", "adopt")  # what the server counts: the answers to these, and what peers sent before


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["mdhfl_plus", "fedavg", "sl_fedl", "swarm_fhe"])
def test_what_left_is_what_the_server_counted(tmp_path: Path, three_sites: Path, recipe: str) -> None:
    changes = changes_for(recipe, **({"competence_epochs": 1} if recipe == "mdhfl_plus" else {}))
    experiment = new_run(tmp_path / "run", three_sites, recipe=recipe, rounds=1, changes=changes)
    run_in_process(tmp_path / "run", experiment=experiment)
    rows = Results(tmp_path / "run", experiment=experiment).rows()
    for site in experiment.sites:
        folder = tmp_path / "run" / "sites" / site / experiment.id
        lines = read_left(folder / LEFT)
        counted = [line for line in lines if line["to"] != "server" or line["action"] in ROUNDS]
        assert sum(line["bytes"] for line in counted) == sum(row["bytes"]["up"] for row in rows if row["site"] == site)
        assert all(line["bytes"] == sum(field["bytes"] for field in line["fields"]) for line in lines)
        done = CliRunner().invoke(leaves_command, [str(folder)])
        assert done.exit_code == 0, done.output
        assert f"{sum(line['bytes'] for line in lines if line['to'] == 'server'):,}" in done.output
        paths = {each.path for each in sums_of(lines)}
        assert FRAME in paths
        assert ("shared.values" in paths) == (recipe in ("mdhfl_plus", "fedavg"))
        peers = [each for each in sums_of(lines) if each.to == "peers"]
        assert bool(peers) == (recipe in ("sl_fedl", "swarm_fhe"))
    whole = CliRunner().invoke(leaves_command, [str(tmp_path / "run")])
    assert all(site in whole.output.replace("\n", "") for site in experiment.sites)


def test_a_half_written_last_line_is_left_out_and_another_is_named(tmp_path: Path) -> None:
    line = json.dumps({"round": 0, "action": "learn", "to": "server", "bytes": 2, "fields": []})
    (tmp_path / LEFT).write_text(f"{line}\n{line[:10]}")
    assert len(read_left(tmp_path / LEFT)) == 1
    (tmp_path / LEFT).write_text(f"{line[:10]}\n{line}\n")
    with pytest.raises(ValueError, match=r"left\.jsonl, line 1"):
        read_left(tmp_path / LEFT)


def test_a_site_goes_on_after_a_half_written_line(tmp_path: Path, federation: Path) -> None:
    """A full disk, or a killed process: that message did not leave, and the next one has a line of its own."""
    request = new_run(tmp_path / "run", federation).request("warm_up", number=0)
    for refusal in ("first", "second"):
        note(tmp_path, {"refusal": refusal}, request=request, to="server")
        with (tmp_path / LEFT).open("a") as file:
            file.write('{"time":"2026-11-')
    assert [line["fields"][0]["bytes"] for line in read_left(tmp_path / LEFT)] == [7, 8]  # "first", "second" in JSON


def test_a_folder_from_which_nothing_left_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected a folder with left\.jsonl"):
        leaves_command.main([str(tmp_path)], standalone_mode=False)

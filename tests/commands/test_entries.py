"""Sites that each prepared their own images become a federation by their entries alone."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from fakes.small_federation import write_federation

from mdhfl.commands.check import problems_of
from mdhfl.commands.consortium import consortium_command
from mdhfl.commands.recipe import experiment_on
from mdhfl.jobs import RECIPES


def call(*arguments: object) -> str:
    done = CliRunner().invoke(consortium_command, [str(one) for one in arguments])
    if done.exception is not None:
        raise done.exception
    return done.output


def entry(folder: Path, site: str, *, training: int, size: int = 32, sites: tuple[str, ...] = ("site-1",)) -> Path:
    """A hospital's own folder, and its entry; all draw the same public set, as if it had been sent to them."""
    own = folder / f"own-{site}"
    write_federation(own, sites=sites, training=training, size=size)
    common = write_federation(folder / f"public-{size}", sites=("any",), size=size)
    card = json.loads((own / "federation.json").read_text())
    card["public"] = json.loads((common / "federation.json").read_text())["public"]
    (own / "federation.json").write_text(json.dumps(card))
    call("entry", own, "--site", site, "--out", folder / f"{site}.json")
    return folder / f"{site}.json"


def test_a_job_is_made_of_what_two_sites_tell(tmp_path: Path) -> None:
    entries = [entry(tmp_path, "paris", training=12), entry(tmp_path, "berlin", training=24)]
    assert "written: " in call("join", *entries, "--name", "blood", "--out", tmp_path / "fed")
    experiment = experiment_on(
        RECIPES["mdhfl"], federation=tmp_path / "fed", identity="trial", seed=0, rounds=1, pairs=()
    )
    assert experiment.sites == ("berlin", "paris")
    assert experiment.training_images == {"berlin": 24, "paris": 12}
    assert problems_of(tmp_path / "fed", classes=3, image_size=32)[1] == []


def test_an_entry_tells_totals_and_digests_and_nothing_else(tmp_path: Path) -> None:
    told = json.loads(entry(tmp_path, "berlin", training=24).read_text())
    assert set(told) == {
        *("version", "site", "classes", "label_space", "image_size", "public"),
        *("training", "validation", "test", "digest"),
    }
    assert "own-" not in json.dumps(told)
    assert (told["training"], told["validation"], told["test"]) == (24, 12, 12)


def test_entries_that_do_not_go_together_are_refused_with_what_differs(tmp_path: Path) -> None:
    berlin, rome = entry(tmp_path, "berlin", training=24), entry(tmp_path, "rome", training=24, size=48)
    with pytest.raises(ValueError, match=r"image size: site 'berlin' has 32, site 'rome' 48; prepare both with"):
        call("join", berlin, rome, "--out", tmp_path / "fed")
    other = json.loads(berlin.read_text())
    (tmp_path / "o.json").write_text(json.dumps({**other, "site": "o", "classes": other["classes"][::-1]}))
    with pytest.raises(ValueError, match=r"classes: site 'berlin' has .*, site 'o' .*same public set, label space"):
        call("join", berlin, tmp_path / "o.json", "--out", tmp_path / "fed")
    assert not (tmp_path / "fed").exists()


@pytest.mark.parametrize("names", [["berlin"], ["berlin", "berlin"], ["berlin", "paris", "berlin"]])
def test_each_site_enters_once_and_none_alone(tmp_path: Path, names: list[str]) -> None:
    entries = {name: entry(tmp_path, name, training=24) for name in set(names)}
    with pytest.raises(ValueError, match="expected the entries of at least two sites, each once, got berlin"):
        call("join", *(entries[name] for name in names), "--out", tmp_path / "fed")


def test_a_folder_of_several_sites_is_no_entry(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected the images of one site, got 2; prepare them with --sites 1"):
        entry(tmp_path, "berlin", training=24, sites=("a", "b"))


@pytest.mark.parametrize(
    "change", [{"training": -1}, {"training": 10**18}, {"site": "../x"}, {"digest": "=1+1"}, {"more": 1}]
)
def test_an_entry_that_was_tampered_with_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    berlin, paris = entry(tmp_path, "berlin", training=24), entry(tmp_path, "paris", training=24)
    paris.write_text(json.dumps({**json.loads(paris.read_text()), **change}))
    with pytest.raises(ValueError, match=r"paris\.json"):
        call("join", berlin, paris, "--out", tmp_path / "fed")


def test_a_federation_is_not_replaced(tmp_path: Path) -> None:
    entries = [entry(tmp_path, "paris", training=12), entry(tmp_path, "berlin", training=24)]
    call("join", *entries, "--out", tmp_path / "fed")
    with pytest.raises(ValueError, match="exists already; experiments are bound to it, give another --out"):
        call("join", *entries, "--out", tmp_path / "fed")

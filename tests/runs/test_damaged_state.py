"""An interrupted run whose files were damaged: it goes on to the same numbers, or names what is wrong."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from fakes.damage import ANY_FILE, Damage, deleted, edit_json, emptied, flipped, scribbled, truncated, without_its_end
from fakes.simulated import model_of, new_run, numbers_of
from fakes.small_federation import write_federation
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mdhfl.runs.folder import site_settings_path
from mdhfl.runs.inprocess import run_in_process
from mdhfl.runs.resume import resume_run
from mdhfl.server.journal import read_rows
from mdhfl.sharing.messages import Answer, Request
from mdhfl.store.sealed import previous, write_sealed
from mdhfl.store.tensors import load_tensors, save_tensors

SITES = ("site-1", "site-2")
QUICK = {"warm_up_epochs": 1}


@pytest.fixture(scope="module", autouse=True)
def every_round_competes() -> Iterator[None]:
    """So that there is a best.pt, after two rounds and with six validation images."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("mdhfl.site.best.ENOUGH_IMAGES", 6)
        patched.setattr("mdhfl.site.best.ROUNDS", 1)
        yield


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three rounds that ended while round 2 was asked for: site-1 had answered it, site-2 not."""
    work = tmp_path_factory.mktemp("interrupted")
    federation = write_federation(work / "fed", sites=SITES, training=8, testing=6, public=6)
    experiment = new_run(work / "run", federation, rounds=3, changes=QUICK)

    def on_answer(request: Request, answer: Answer) -> None:
        if request.round == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_in_process(work / "run", experiment=experiment, on_answer=on_answer)
    return work / "run"


@pytest.fixture(scope="module")
def whole(interrupted: Path) -> Path:
    """The same run, continued as it was."""
    folder = copy_of(interrupted, interrupted.parent / "whole")
    run_in_process(folder, experiment=resume_run(folder))
    return folder


@pytest.fixture
def run(interrupted: Path, tmp_path: Path) -> Path:
    return copy_of(interrupted, tmp_path / "run")


def copy_of(folder: Path, to: Path) -> Path:
    """Copy a run's folder; its sites' settings name the state folder by its absolute path."""
    shutil.copytree(folder, to)
    for site in SITES:
        path = site_settings_path(to, site)
        edit_json(path, state=str(path.parent))
    return to


def outcome(folder: Path, whole: Path) -> str:
    """Continue a run; return "equal" or what refused it. A difference fails the test."""
    try:
        run_in_process(folder, experiment=resume_run(folder))
    except (ValueError, OSError, RuntimeError) as error:
        return str(error)
    rows, expected = (numbers_of(read_rows(each / "results.jsonl")) for each in (folder, whole))
    assert rows == expected
    for site in SITES:
        model, other = model_of(folder, site), model_of(whole, site)
        assert all(torch.equal(model[name], other[name]) for name in other)
    return "equal"


def state_file(folder: Path, name: str, *, site: str) -> Path:
    (path,) = (folder / "sites" / site).glob(f"*/{name}")
    return path


@pytest.mark.parametrize("damage", ANY_FILE, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("site", SITES)
def test_a_damaged_state_is_made_again(run: Path, whole: Path, site: str, damage: Damage) -> None:
    """site-1 is asked for its lost round; the server has site-2's, which does it again from what it was taught."""
    damage(state_file(run, "state.pt", site=site))
    assert outcome(run, whole) == "equal"


def unsealed(path: Path) -> None:
    torch.save(load_tensors(path), path)


def of_the_other_site(path: Path) -> None:
    other = {"site-1": "site-2", "site-2": "site-1"}[path.parents[1].name]
    shutil.copy(state_file(path.parents[3], path.name, site=other), path)


def changed(**changes: object) -> Damage:
    """Seal a changed state, as no other hand could."""

    def change(path: Path) -> None:
        values = load_tensors(path)
        write_sealed(path, lambda file: torch.save({**values, **changes}, file))

    change.__name__ = ", ".join(changes)
    return change


def with_nan(path: Path) -> None:
    values = load_tensors(path)
    next(v for v in values["models"]["model"]["model"].values() if v.is_floating_point()).fill_(float("nan"))
    save_tensors(path, values)


@pytest.mark.parametrize(
    "damage",
    [
        unsealed,
        of_the_other_site,
        changed(text="{"),
        changed(text="null"),
        changed(models={}),
        changed(terms=3),
        with_nan,
    ],
    ids=lambda damage: damage.__name__,
)
def test_a_state_that_is_no_state_of_this_site_is_made_again(run: Path, whole: Path, damage: Damage) -> None:
    """The previous generation of site-2 is the one that it had written itself."""
    path = state_file(run, "state.pt", site="site-2")
    before = previous(path).read_bytes()
    damage(path)
    previous(path).write_bytes(before)
    assert outcome(run, whole) == "equal"


@pytest.mark.parametrize("name", ["state.pt.previous", "round.pt", "round.pt.previous", "best.pt", "best.pt.previous"])
@pytest.mark.parametrize("damage", [truncated, deleted, flipped(0.5)], ids=lambda damage: damage.__name__)
def test_what_is_not_needed_may_be_damaged(run: Path, whole: Path, name: str, damage: Damage) -> None:
    for site in SITES:
        damage(state_file(run, name, site=site))
    assert outcome(run, whole) == "equal"


def site_log(run: Path) -> str:
    return (run / "sites" / "site-2" / "site.log").read_text()


def both(path: Path) -> None:
    for each in (path, previous(path)):
        scribbled(each)


def test_a_site_that_has_lost_everything_is_named_with_the_way_out(run: Path, whole: Path) -> None:
    both(state_file(run, "state.pt", site="site-2"))
    said = outcome(run, whole)
    assert "site 'site-2': its state of round 1 is lost or damaged" in said
    assert "--min-sites" in said
    log = site_log(run)
    assert "site 'site-2': the server has its answer of round 1, but it has kept nothing" in log
    assert "state.pt: damaged" in log


def test_the_way_out_leaves_the_site_out_of_one_round_and_says_so(run: Path) -> None:
    both(state_file(run, "state.pt", site="site-2"))
    run_in_process(run, experiment=resume_run(run, min_sites=1))
    rows = {(row["round"], row["site"]): row for row in read_rows(run / "results.jsonl")}
    assert "its state of round 1 is lost or damaged" in rows[2, "site-2"]["reason"]
    assert rows[3, "site-2"]["status"] == "ok"


def test_a_state_and_its_round_lost_together_are_named(run: Path, whole: Path) -> None:
    scribbled(state_file(run, "state.pt", site="site-2"))
    both(state_file(run, "round.pt", site="site-2"))
    assert "site 'site-2': its state of round 1 is lost or damaged" in outcome(run, whole)
    assert "site 'site-2': the server has its answer of round 1, but its state ends with round 0" in site_log(run)


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("damage", ANY_FILE, ids=lambda damage: damage.__name__)
def test_a_round_whose_shares_are_damaged_is_asked_for_again(
    run: Path, whole: Path, number: int, damage: Damage
) -> None:
    damage(run / "shared" / f"round-{number:04d}.npz")
    assert outcome(run, whole) == "equal"


def test_shares_that_are_all_damaged_are_named(run: Path, whole: Path) -> None:
    for number in (0, 1):
        truncated(run / "shared" / f"round-{number:04d}.npz")
    assert "round-0001.npz: damaged" in outcome(run, whole)


def lines(change: Callable[[list[bytes]], list[bytes]]) -> Damage:
    def damage(path: Path) -> None:
        path.write_bytes(b"\n".join(change(path.read_bytes().split(b"\n"))))

    return damage


@pytest.mark.parametrize(
    "damage",
    [
        without_its_end,
        flipped(1),
        flipped(0.98),
        lines(lambda found: [*found[:-2], b"[1]", b""]),
        lines(lambda found: [*found[:-1], b"{}", b""]),
        lines(lambda found: [*found[:-2], b""]),
        lines(lambda found: [*found[:-3], b""]),
    ],
    ids=["cut", "line feed", "flipped", "no row", "one more", "without the last line", "without the last round"],
)
def test_the_end_of_the_results_costs_one_round_at_most(run: Path, whole: Path, damage: Damage) -> None:
    damage(run / "results.jsonl")
    assert outcome(run, whole) == "equal"


@pytest.mark.parametrize(
    ("damage", "line"),
    [
        (lines(lambda found: [found[0], found[1][:50], *found[2:]]), 2),
        (lines(lambda found: [*found[:2], b"", *found[2:]]), 3),
        (lines(lambda found: [*found[:2], found[1], *found[2:]]), 3),
        (lines(lambda found: [found[0], *found[2:]]), 2),
        (lines(lambda found: [found[1], found[0], *found[2:]]), 1),
        (lines(lambda found: [found[0], b"[1]", *found[2:]]), 2),
        (lines(lambda found: [found[0].replace(b'"ok"', b'"OK"'), *found[1:]]), 1),
        (flipped(0.4), 2),
    ],
    ids=["cut", "blank", "twice", "missing", "swapped", "no row", "edited", "flipped"],
)
def test_a_line_in_the_middle_of_the_results_is_named_and_nothing_is_deleted(
    run: Path, whole: Path, damage: Damage, line: int
) -> None:
    path = run / "results.jsonl"
    damage(path)
    before = path.read_bytes()
    for _ in range(2):
        assert f"{path}: line {line}: damaged" in outcome(run, whole)
        assert path.read_bytes() == before


@pytest.mark.parametrize("damage", [deleted, emptied])
def test_results_that_are_gone_are_named(run: Path, whole: Path, damage: Damage) -> None:
    damage(run / "results.jsonl")
    assert "results.jsonl: expected the rows of rounds 0 to 1" in outcome(run, whole)


@pytest.mark.parametrize("name", ["experiment.json", "terms.json"])
@pytest.mark.parametrize("damage", ANY_FILE, ids=lambda damage: damage.__name__)
def test_a_record_has_a_copy(run: Path, whole: Path, name: str, damage: Damage) -> None:
    damage(run / name)
    assert outcome(run, whole) == "equal"


def test_an_edited_record_is_not_believed(run: Path, whole: Path) -> None:
    edit_json(run / "experiment.json", seed=7)
    assert outcome(run, whole) == "equal"
    edit_json(run / "experiment.json", rounds="x")
    edit_json(previous(run / "experiment.json"), seed=7)
    assert "experiment.json: damaged or edited (its checksum does not fit)" in outcome(run, whole)


@pytest.mark.parametrize("name", ["experiment.json", "terms.json"])
def test_a_record_that_is_damaged_with_its_copy_is_named(run: Path, whole: Path, name: str) -> None:
    both(run / name)
    assert f"{name}: damaged" in outcome(run, whole)


@pytest.mark.parametrize("damage", [truncated, deleted])
def test_damaged_settings_are_named(run: Path, whole: Path, damage: Damage) -> None:
    path = site_settings_path(run, "site-2")
    damage(path)
    assert str(path) in outcome(run, whole)


def test_what_interrupted_writes_left_is_cleaned_and_nothing_else(run: Path, whole: Path) -> None:
    folder = state_file(run, "state.pt", site="site-1").parent
    ours = [run / "summary.json.77.tmp", run / "shared" / "round-0002.npz.8.tmp", folder / "state.pt.9.tmp"]
    others = [run / "notes.tmp", folder / "mine.pt"]
    for path in (*ours, *others):
        path.write_bytes(b"x")
    assert outcome(run, whole) == "equal"
    assert not any(path.exists() for path in ours)
    assert all(path.exists() for path in others)


def test_a_summary_says_what_the_rows_say(whole: Path) -> None:
    assert json.loads((whole / "summary.json").read_text())["rounds"] == 3


@pytest.mark.slow
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_flipped_bit_anywhere_never_changes_a_number(interrupted: Path, whole: Path, data: st.DataObject) -> None:
    run = interrupted.parent / "flipped"
    shutil.rmtree(run, ignore_errors=True)
    copy_of(interrupted, run)
    kept = sorted(p.relative_to(run) for p in run.rglob("*") if p.is_file() and p.suffix not in (".lock",))
    path = run / data.draw(
        st.sampled_from([str(each) for each in kept if each.name not in ("site.json", "server.json")])
    )
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(bytes(content))
    said = outcome(run, whole)
    assert said == "equal" or path.name.removesuffix(".previous") in said

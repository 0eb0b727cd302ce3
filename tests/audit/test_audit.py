"""Audits of real runs: a model that remembers is found out, and one that never saw the images is not."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes.damage import edit_json, edit_sealed
from fakes.simulated import changes_for, new_run, tiny_bundle
from fakes.small_federation import CLASSES, write_federation

from mdhfl.audit.audit import FLOOR, HOLDER, LIRA, RECEIVER, Audit, SiteAudit, audit
from mdhfl.audit.before import predict
from mdhfl.audit.candidates import load_candidates
from mdhfl.audit.evidence import Recorder, read_evidence
from mdhfl.audit.intervals import Separation, separation
from mdhfl.audit.likelihood import confidence
from mdhfl.audit.record import plain_audit, write_audit
from mdhfl.audit.shadows import open_model, shadows_of, student_of
from mdhfl.files import read_checked
from mdhfl.jobs import RECIPES
from mdhfl.learning.model import Model
from mdhfl.runs.inprocess import run_in_process
from mdhfl.site.defences import Defences
from mdhfl.site.history import HISTORY

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sites of 24 training and 48 held-out images, whose training labels say nothing about the images."""
    folder = write_federation(tmp_path_factory.mktemp("audited") / "fed", testing=24)
    random = np.random.default_rng(0)
    for site in ("site-1", "site-2"):
        path = folder / "sites" / site / "datalist.json"
        listed = json.loads(path.read_text())
        for item in listed["training"]:
            item["label"] = int(random.integers(len(CLASSES)))
        edit_json(path, training=listed["training"])
        noise = {"kind": "symmetric", "rate": 0.67, "realised_rate": 0.67, "matrix": [[8, 8, 8]] * 3}
        edit_json(folder / "sites" / site / "card.json", noise=noise)
    return folder


@pytest.fixture(scope="module")
def knowing(federation: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of FedMD with networks of 147 parameters."""
    folder = tmp_path_factory.mktemp("knowing")
    return run(folder / "run", federation, recipe="fedmd", bundles=(str(tiny_bundle(folder / "tiny")),))


def run(folder: Path, federation: Path, *, recipe: str, record: bool = False, **options: Any) -> Path:
    options = {"changes": changes_for(recipe), "rounds": 2, **options}
    experiment = new_run(folder, federation, recipe=recipe, **options)
    run_in_process(folder, experiment=experiment, on_answer=Recorder(folder) if record else lambda q, a: None)
    return folder


def attack(found: Audit | SiteAudit, threat: str, name: str) -> Separation:
    attacks = found.together if isinstance(found, Audit) else found.membership
    (one,) = (each for each in attacks if (each.threat, each.attack) == (threat, name))
    return one.found


def notes_of(found: Audit) -> str:
    return "\n".join([*found.notes, *(note for site in found.sites for note in site.notes)])


def test_a_model_that_learned_its_labels_by_heart_is_found_out(federation: Path, tmp_path: Path) -> None:
    changes = {"warm_up_epochs": 60}
    folder = run(
        tmp_path / "run", federation, recipe="local", changes=changes, rounds=1, bundles=("resnet10",), sites=1
    )
    found = audit(folder, shadows=2)
    (site,) = found.sites
    for name in (FLOOR, LIRA):
        measured = attack(site, HOLDER, name)
        assert (measured.members, measured.non_members) == (24, 48)
        assert measured.auc is not None
        assert measured.auc.low > 0.75, name
    assert site.lights["model"] == "red"
    assert site.labels is site.inversion is None
    assert {each.threat for each in site.membership} == {HOLDER}
    assert "this method shares nothing" in notes_of(found)


def test_a_model_that_never_saw_the_images_tells_nothing_of_them(federation: Path, tmp_path: Path) -> None:
    changes = {"warm_up_epochs": 0, "local_epochs": 0}
    found = audit(run(tmp_path / "run", federation, recipe="local", changes=changes, rounds=1), shadows=0)
    measured = attack(found, HOLDER, FLOOR)
    assert (measured.members, measured.non_members) == (48, 96)
    assert measured.auc is not None
    assert measured.auc.low <= 0.5 <= measured.auc.high
    assert {each.attack for each in found.together} == {FLOOR}  # without shadow models


def test_a_student_of_answers_that_know_the_members_knows_them_too(knowing: Path) -> None:
    evidence = read_evidence(knowing)
    site = evidence.sites["site-1"]
    found = load_candidates(site.settings, model=open_model(evidence, site, image_size=32))
    chosen = [*range(24), *range(24, 48)]
    few = replace(found, images=found.images[chosen], labels=found.labels[chosen])
    seen = replace(few, public=few.images.repeat(4, 1, 1, 1))  # public images that are the candidates themselves
    labels = few.labels.numpy()
    knows = np.where(np.arange(48)[:, None] < 24, np.eye(3)[labels], 1 / 3)
    for answers, knowing_ in ((knows, True), (np.full((48, 3), 1 / 3), False)):
        scores = confidence(student_of(seen, np.tile(answers, (4, 1))), labels)
        measured = separation(scores[:24], scores[24:]).auc
        assert measured is not None
        assert (measured.low > 0.6) == knowing_
        assert knowing_ or measured.low <= 0.5 <= measured.high


def test_shadow_models_are_trained_anew_where_what_they_begin_with_or_may_say_has_changed(
    knowing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evidence = read_evidence(knowing)
    site = evidence.sites["site-1"]
    model = open_model(evidence, site, image_size=32)
    candidates = load_candidates(site.settings, model=model)
    trained: list[int] = []

    def train(*_about: Any, number: int) -> tuple[np.ndarray, None]:
        trained.append(number)
        return np.zeros((len(candidates.labels), 3), dtype=np.float32), None

    monkeypatch.setattr("mdhfl.audit.shadows._shadow", train)
    (tmp_path / "weights.pt").write_bytes(b"some weights")
    for settings in (
        site.settings,
        replace(site.settings, defences=Defences(top_k=1)),
        replace(site.settings, weights=tmp_path / "weights.pt"),
    ):
        for _ in range(2):
            shadows_of(evidence, replace(site, settings=settings), candidates, count=2, cache=tmp_path / "audit")
    assert trained == [0, 1] * 3


def test_every_measure_of_a_run_that_shares_knowledge(knowing: Path) -> None:
    found = audit(knowing, shadows=2)
    assert [site.site for site in found.sites] == ["site-1", "site-2"]
    assert found.shares == "logits"
    for site in found.sites:
        assert site.rounds == (1, 2)
        assert site.labels is not None
        assert set(site.labels.errors) == {"mean answer", "prior shift"}
        assert site.inversion is not None
        assert site.inversion.images == 24
        assert len(site.membership) == 4
        assert site.counts.by_class
        assert site.counts.total == sum(site.counts.bytes.values())
        assert set(site.lights.values()) <= {"green", "amber", "red"}
    assert attack(found, RECEIVER, LIRA).members == 48
    assert "of 3 rounds what was sent is kept of 2 (round 1, 2)" in notes_of(found)
    values = read_checked(write_audit(found), schema="audit", missing="")
    assert values["sites"][0]["lights"] == found.sites[0].lights
    kept = sorted((knowing / "audit").glob("*.npz"))
    assert len(kept) == 2
    before = [path.stat().st_mtime_ns for path in kept]
    assert audit(knowing, shadows=2) == found  # the second time from what is kept
    assert [path.stat().st_mtime_ns for path in kept] == before


def test_all_rounds_that_were_recorded_are_heard(federation: Path, tmp_path: Path) -> None:
    bundles = (str(tiny_bundle(tmp_path / "tiny")),)
    folder = run(tmp_path / "run", federation, recipe="mdhfl", bundles=bundles, record=True)
    evidence = read_evidence(folder)
    assert sorted(evidence.sites["site-1"].shared) == [0, 1, 2]
    assert evidence.notes == ()


def test_a_site_audits_itself_with_its_own_images(knowing: Path) -> None:
    (own,) = (path.parent for path in knowing.glob(f"sites/site-1/*/{HISTORY}"))
    found = audit(own, shadows=0)
    (site,) = found.sites
    assert (found.own, site.site, site.rounds) == (True, "site-1", (1, 2))
    assert site.labels is not None
    whole = audit(knowing, sites=["site-1"], shadows=0).sites[0]
    assert whole.labels is not None
    assert set(site.labels.errors) == {"mean answer"}  # it does not know what the others answered
    assert site.labels.errors["mean answer"] == whole.labels.errors["mean answer"]
    assert site.membership == whole.membership


def test_answers_that_left_otherwise_than_the_state_keeps_them_are_named(knowing: Path, tmp_path: Path) -> None:
    (own,) = (path.parent for path in knowing.glob(f"sites/site-1/*/{HISTORY}"))
    moved = tmp_path / "state"  # without site.json beside it: the public set is that of the federation
    shutil.copytree(own, moved)
    assert "keeps other answers" not in notes_of(audit(moved, shadows=0))
    left = moved / "left.jsonl"
    left.write_text(re.sub(r'"sha256":"\w+"', f'"sha256":"{"0" * 64}"', left.read_text()))
    assert "the site's state keeps other answers of round 1, 2 than left" in notes_of(audit(moved, shadows=0))


def test_weights_are_no_answers_and_make_their_receiver_a_holder(federation: Path, tmp_path: Path) -> None:
    bundles = (str(tiny_bundle(tmp_path / "tiny")),)
    folder = run(tmp_path / "run", federation, recipe="fedavg", bundles=bundles)
    found = audit(folder, shadows=2)
    assert "the audit of answers does not apply" in notes_of(found)
    assert all(site.labels is site.inversion is None for site in found.sites)
    assert {each.threat for each in found.together} == {HOLDER}
    assert attack(found, HOLDER, LIRA).auc is not None
    (own,) = (path.parent for path in folder.glob(f"sites/site-1/*/{HISTORY}"))
    assert attack(audit(own, shadows=2), HOLDER, LIRA).auc is not None


def test_a_proxy_is_attacked_as_it_was_sent(federation: Path, tmp_path: Path) -> None:
    bundles = (str(tiny_bundle(tmp_path / "tiny")),)
    folder = run(tmp_path / "run", federation, recipe="proxyfl", bundles=bundles, rounds=1)
    evidence = read_evidence(folder)
    site = evidence.sites["site-1"]
    sent = site.weights
    assert sent is not None
    proxy = Model.open("mobilenet_v2_group", num_classes=len(CLASSES), image_size=32)
    proxy.load_vector(sent.values, layout=sent.layout, whose="a test")
    images = load_candidates(site.settings, model=proxy)
    scores = confidence(proxy.predict(images.images).numpy(), images.labels.numpy())
    found = audit(folder, sites=["site-1"], shadows=2)
    assert attack(found.sites[0], HOLDER, FLOOR) == separation(scores[:24], scores[24:])
    assert_floor_alone(found, why="trains with a proxy beside it")


def assert_floor_alone(found: Audit, *, why: str) -> None:
    assert {each.attack for each in found.together} == {FLOOR}
    assert found.shadows == 0
    for site in plain_audit(found)["sites"]:
        assert site["membership"]
        assert [note for note in site["notes"] if why in note and note.startswith("no LiRA")]
    assert not (found.folder / "audit").exists()  # nor was one trained


def test_a_site_with_a_privacy_budget_has_no_shadow_models_which_would_train_without_it(
    federation: Path, tmp_path: Path
) -> None:
    bundles, budget = (str(tiny_bundle(tmp_path / "tiny")),), {"epsilon": 5, "delta": 1e-3}
    folder = run(tmp_path / "run", federation, recipe="fedmd", bundles=bundles, rounds=1, privacy=budget)
    found = audit(folder, shadows=2)
    assert {each.threat for each in found.together} == {RECEIVER, HOLDER}
    assert_floor_alone(found, why="under a privacy budget (DP-SGD)")


def test_shadow_models_hold_on_to_early_answers_where_the_sites_own_did(federation: Path, tmp_path: Path) -> None:
    bundles, changes = (str(tiny_bundle(tmp_path / "tiny")),), {"warm_up_epochs": 4, "early_weight": 3.0}
    folder = run(tmp_path / "run", federation, recipe="local_plus", bundles=bundles, changes=changes, rounds=1)
    assert attack(audit(folder, sites=["site-1"], shadows=2), HOLDER, LIRA).members == 24
    evidence = read_evidence(folder)
    site = evidence.sites["site-1"]
    candidates = load_candidates(site.settings, model=open_model(evidence, site, image_size=32))
    plain = replace(evidence, method=replace(evidence.method, early_weight=0.0))  # type: ignore[call-arg]
    held, not_held = (
        shadows_of(each, site, candidates, count=2, cache=tmp_path / name)
        for each, name in ((evidence, "held"), (plain, "not-held"))
    )
    np.testing.assert_array_equal(held.inside, not_held.inside)
    assert not np.array_equal(held.logits, not_held.logits)


def test_a_servers_folder_needs_to_be_told_where_the_images_are(
    knowing: Path, federation: Path, tmp_path: Path
) -> None:
    server = tmp_path / "server"
    shutil.copytree(knowing, server, ignore=shutil.ignore_patterns("sites", "audit", "audit.json"))
    edit_sealed(server / "experiment.json", federation="fed")
    (server / "experiment.json.previous").unlink(missing_ok=True)
    with pytest.raises(ValueError, match=r"this one is a server's: name the federation's folder with --federation"):
        audit(server, shadows=0)
    found = audit(server, federation=federation, shadows=0)
    assert {each.threat for each in found.together} == {RECEIVER}
    assert "the model was not sent and is not at hand here" in notes_of(found)


def test_too_few_images_give_no_number(tmp_path: Path) -> None:
    small = write_federation(tmp_path / "fed", training=12, testing=4)
    bundles = (str(tiny_bundle(tmp_path / "tiny")),)
    found = audit(run(tmp_path / "run", small, recipe="mdhfl", bundles=bundles), shadows=0)
    for site in found.sites:
        assert {each.found.auc for each in site.membership} == {None}
        assert (site.lights["messages"], site.lights["model"], site.lights["inversion"]) == ("grey", "grey", "grey")
        assert site.labels is not None


def test_before_taking_part_a_site_learns_what_it_would_give_away(federation: Path, tmp_path: Path) -> None:
    bundle = str(tiny_bundle(tmp_path / "tiny"))
    found = predict(federation, recipe=RECIPES["fedmd"], out=tmp_path / "dry", bundle=bundle, rounds=1, shadows=2)
    assert found.predicted
    assert [site.site for site in found.sites] == ["site-1"]
    assert found.sites[0].rounds == (0, 1)
    assert "predicted from a dry run" in notes_of(found)
    assert found.folder == tmp_path / "dry"


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"shadows": 3}, "shadows: expected an even number, or 0 for none, got 3"),
        ({"sites": ["site-9"]}, "--site: no 'site-9' in .*; its sites are site-1, site-2"),
    ],
)
def test_what_cannot_be_audited_is_said(knowing: Path, how: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        audit(knowing, **how)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no experiment\.json; is this the folder given to `mdhfl run --out`"):
        audit(tmp_path)

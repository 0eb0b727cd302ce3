"""A site answers, keeps its state, and restores it: bit for bit, whatever happens in between."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SmallFiles
from fakes.simulated import log_of, new_run, own_bundle, set_in, site_of
from fakes.small_federation import write_federation
from PIL import Image

from mdhfl.learning.training import Aborted
from mdhfl.methods.mdhfl import Mdhfl
from mdhfl.rounds.experiment import Experiment
from mdhfl.sharing.knowledge import Knowledge
from mdhfl.sharing.messages import Answer
from mdhfl.sharing.teaching import Teaching
from mdhfl.store.tensors import load_tensors

OTHERS = "site-2"


def teaching(experiment: Experiment, own: Answer, *, number: int, sure_of: int = 0) -> Teaching:
    """A sum of this site's knowledge and of one other site that is sure of one class."""
    assert isinstance(own.shared, Knowledge)
    other = np.zeros_like(own.shared.values)
    other[:, sure_of] = 1
    return Teaching(values=own.shared.values + other, weights={"site-1": 1.0, OTHERS: 1.0}, round=number)


def learn_twice(folder: Path, experiment: Experiment, *, restart: bool) -> list[Answer]:
    """Warm up and learn two rounds, in one process or as if restarted before every task."""
    site = site_of(folder, "site-1")
    answers = [site.answer(experiment.request("warm_up", number=0))]
    for number in (1, 2):
        if restart:
            site = site_of(folder, "site-1")
        request = experiment.request(
            "learn", number=number, lesson=teaching(experiment, answers[-1], number=number - 1)
        )
        answers.append(site.answer(request))
    assert not any(a.refusal for a in answers)
    return answers


def knowledge_of(answer: Answer) -> np.ndarray:
    assert isinstance(answer.shared, Knowledge), answer.refusal
    return answer.shared.values


def test_a_restart_between_two_tasks_changes_nothing(tmp_path: Path, federation: Path) -> None:
    whole = learn_twice(tmp_path / "a", new_run(tmp_path / "a", federation), restart=False)
    restarted = learn_twice(tmp_path / "b", new_run(tmp_path / "b", federation), restart=True)
    for one, other in zip(whole, restarted, strict=True):
        np.testing.assert_array_equal(knowledge_of(one), knowledge_of(other))
        assert one.losses == other.losses


def test_getting_ready_first_changes_nothing_and_leaves_nothing(tmp_path: Path, federation: Path) -> None:
    experiment = new_run(tmp_path / "a", federation)
    site = site_of(tmp_path / "a", "site-1")
    assert site.answer(experiment.request("open", number=0)) == Answer(site="site-1", round=0)
    assert not list((tmp_path / "a" / "sites").rglob("*.pt"))
    ready = site.answer(experiment.request("warm_up", number=0))
    new_run(tmp_path / "b", federation)
    unprepared = site_of(tmp_path / "b", "site-1").answer(experiment.request("warm_up", number=0))
    np.testing.assert_array_equal(knowledge_of(ready), knowledge_of(unprepared))


def test_alignment_moves_the_site_towards_its_teacher(tmp_path: Path, federation: Path) -> None:
    """Everything else equal, a site that listens ends nearer to the other's answers than one that does not."""
    experiment = new_run(tmp_path / "a", federation, changes={"local_epochs": 0, "align_epochs": 3})
    before, after, _ = learn_twice(tmp_path / "a", experiment, restart=False)
    assert knowledge_of(after)[:, 0].mean() > knowledge_of(before)[:, 0].mean() + 0.02


def test_a_repeated_request_is_answered_from_the_state_without_training(tmp_path: Path, federation: Path) -> None:
    experiment = new_run(tmp_path / "a", federation)
    *_, before, last = learn_twice(tmp_path / "a", experiment, restart=False)
    state = tmp_path / "a" / "sites" / "site-1" / experiment.id / "state.pt"
    written = state.stat().st_mtime_ns
    request = experiment.request("learn", number=2, lesson=teaching(experiment, before, number=1))
    again = site_of(tmp_path / "a", "site-1").answer(request)
    np.testing.assert_array_equal(knowledge_of(again), knowledge_of(last))
    np.testing.assert_array_equal(again.confusion, last.confusion)
    assert (again.losses, again.validation, again.about) == (last.losses, last.validation, last.about)
    assert state.stat().st_mtime_ns == written


def test_a_finished_round_with_another_lesson_is_done_again_from_where_the_site_stood(
    tmp_path: Path, federation: Path
) -> None:
    """As if the first lesson had never come, also where the site has gone on since."""
    experiment = new_run(tmp_path / "a", federation)
    first, second, third = learn_twice(tmp_path / "a", experiment, restart=False)
    other = experiment.request("learn", number=2, lesson=teaching(experiment, second, number=1, sure_of=1))
    again = site_of(tmp_path / "a", "site-1").answer(other)

    experiment = new_run(tmp_path / "b", federation)
    site = site_of(tmp_path / "b", "site-1")
    site.answer(experiment.request("warm_up", number=0))
    site.answer(experiment.request("learn", number=1, lesson=teaching(experiment, first, number=0)))
    expected = site.answer(replace(other, experiment=experiment.id))
    np.testing.assert_array_equal(knowledge_of(again), knowledge_of(expected))
    assert not np.array_equal(knowledge_of(again), knowledge_of(third))


def test_an_older_round_is_refused(tmp_path: Path, federation: Path) -> None:
    experiment = new_run(tmp_path / "a", federation)
    learn_twice(tmp_path / "a", experiment, restart=False)
    answer = site_of(tmp_path / "a", "site-1").answer(experiment.request("learn", number=1))
    assert "already finished round 2" in answer.refusal
    assert "another id" in answer.refusal


def test_an_abort_loses_only_the_round_it_falls_into(tmp_path: Path, federation: Path) -> None:
    whole = learn_twice(tmp_path / "a", new_run(tmp_path / "a", federation), restart=False)
    experiment = new_run(tmp_path / "b", federation)
    site = site_of(tmp_path / "b", "site-1")
    first = site.answer(experiment.request("warm_up", number=0))
    request = experiment.request("learn", number=1, lesson=teaching(experiment, first, number=0))
    asked = iter([False, False, True])
    with pytest.raises(Aborted):
        site.answer(request, should_stop=lambda: next(asked))
    np.testing.assert_array_equal(knowledge_of(site.answer(request)), knowledge_of(whole[1]))


def test_best_and_last_models_are_kept_without_pickle(
    tmp_path: Path, federation: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """12 validation images would not do."""
    monkeypatch.setattr("mdhfl.site.best.ENOUGH_IMAGES", 12)
    monkeypatch.setattr("mdhfl.site.best.ROUNDS", 1)
    experiment = new_run(tmp_path / "a", federation)
    answers = learn_twice(tmp_path / "a", experiment, restart=False)
    site_of(tmp_path / "a", "site-1").answer(experiment.request("finish", number=2))
    folder = tmp_path / "a" / "sites" / "site-1" / experiment.id
    best, last = load_tensors(folder / "best.pt"), load_tensors(folder / "last.pt")
    scores = [a.validation.macro_f1 for a in answers]
    assert best["round"] == int(np.argmax(scores))
    assert last["round"] == 2
    assert last["scores"] == vars(answers[-1].validation)


def test_a_loss_of_nan_stops_the_site_and_keeps_its_last_good_state(tmp_path: Path, federation: Path) -> None:
    bundle = own_bundle(tmp_path / "bundle", ("epochs: 20", "epochs: 20"))
    changes = {"warm_up_epochs": 0, "local_epochs": 3}
    experiment = new_run(tmp_path / "a", federation, bundles=(str(bundle),), changes=changes)
    set_in(bundle, ("lr: 0.001", "lr: 1.0e+30"))
    site = site_of(tmp_path / "a", "site-1")
    first = site.answer(experiment.request("warm_up", number=0))
    request = experiment.request("learn", number=1, lesson=teaching(experiment, first, number=0))
    stopped = site.answer(request)
    assert "site 'site-1': its training diverged in round 1" in stopped.refusal
    assert "last good state is kept" in stopped.refusal
    assert "learning rate" in stopped.refusal
    assert "the loss became" in log_of(tmp_path / "a", stopped.refusal)
    restarted = site_of(tmp_path / "a", "site-1")
    later = restarted.answer(experiment.request("learn", number=2))
    assert later.refusal == stopped.refusal  # it stays stopped, also after a restart
    restarted.close()
    assert not site.answer(experiment.request("finish", number=2)).refusal
    last = load_tensors(tmp_path / "a" / "sites" / "site-1" / experiment.id / "last.pt")
    assert last["round"] == 0
    assert all(torch.isfinite(v).all() for v in last["model"].values() if v.is_floating_point())


def test_a_full_disk_keeps_the_old_state_and_the_site_goes_on(
    tmp_path: Path, federation: Path, small_files_only: SmallFiles
) -> None:
    experiment = new_run(tmp_path / "a", federation)
    site = site_of(tmp_path / "a", "site-1")
    first = site.answer(experiment.request("warm_up", number=0))
    folder = tmp_path / "a" / "sites" / "site-1" / experiment.id
    before = (folder / "state.pt").read_bytes()
    request = experiment.request("learn", number=1, lesson=teaching(experiment, first, number=0))
    with small_files_only(100_000):
        answer = site.answer(request)
    assert "its disk is full" in answer.refusal
    assert "Free disk space" in log_of(tmp_path / "a", answer.refusal)
    assert (folder / "state.pt").read_bytes() == before
    assert not list(folder.glob("*.tmp"))
    assert not site.answer(request).refusal


def changed_federation(tmp_path: Path, federation: Path) -> Path:
    return Path(shutil.copytree(federation, tmp_path / "changed"))


def answer_in(tmp_path: Path, federation: Path, **request: object) -> tuple[str, str]:
    """What the first site refuses, and what its log says of it."""
    experiment = new_run(tmp_path / "run", federation)
    asked = replace(experiment.request("warm_up", number=0), **request)  # type: ignore[arg-type]
    refusal = site_of(tmp_path / "run", "site-1").answer(asked).refusal
    return refusal, log_of(tmp_path / "run", refusal)


def test_a_changed_image_is_named(tmp_path: Path, federation: Path) -> None:
    folder = changed_federation(tmp_path, federation)
    image = folder / "sites" / "site-1" / "images" / "img_00003.png"
    pixels = np.asarray(Image.open(image)).copy()
    pixels[0, 0, 0] ^= 1
    Image.fromarray(pixels).save(image)
    refusal, log = answer_in(tmp_path, folder)
    assert "its own images could not be read, or changed" in refusal
    assert "img_00003" not in refusal
    assert "img_00003.png: expected digest" in log


def test_a_missing_image_is_named(tmp_path: Path, federation: Path) -> None:
    folder = changed_federation(tmp_path, federation)
    (folder / "public" / "images" / "img_00007.png").unlink()
    refusal, log = answer_in(tmp_path, folder)
    assert "its public images could not be read" in refusal
    assert "img_00007.png: listed in datalist.json but missing" in log


def test_a_truncated_image_is_named(tmp_path: Path, federation: Path) -> None:
    folder = changed_federation(tmp_path, federation)
    image = folder / "sites" / "site-1" / "images" / "img_00000.png"
    image.write_bytes(image.read_bytes()[:60])
    assert "img_00000.png: cannot be decoded" in answer_in(tmp_path, folder)[1]


def test_a_label_out_of_range_is_named(tmp_path: Path, federation: Path) -> None:
    folder = changed_federation(tmp_path, federation)
    path = folder / "sites" / "site-1" / "datalist.json"
    items = json.loads(path.read_text())
    items["training"][0]["label"] = 9
    path.write_text(json.dumps(items))
    assert "expected labels 0 to 2, got 9" in answer_in(tmp_path, folder)[1]


def test_another_public_set_is_refused_at_the_site(tmp_path: Path, federation: Path) -> None:
    other = write_federation(tmp_path / "other", seed=5)
    experiment = new_run(tmp_path / "run", federation)
    site = site_of(tmp_path / "run", "site-1")
    site.settings = replace(site.settings, public=other / "public")
    refusal = site.answer(experiment.request("warm_up", number=0)).refusal
    expected = experiment.public_digest[:8]
    assert f"its public set differs: expected digest {expected}, it has " in refusal
    assert "copy the federation's public folder" in refusal
    assert str(other / "public") in log_of(tmp_path / "run", refusal)


@pytest.mark.parametrize("name", ["../../etc", "/srv/other", "a/b", ""])
def test_a_server_cannot_choose_a_folder_at_the_site(name: str, tmp_path: Path, federation: Path) -> None:
    refusal, log = answer_in(tmp_path, federation, experiment=name)
    assert "what the server sent could not be used" in refusal
    assert "expected letters, digits" in log


def test_another_class_order_is_refused(tmp_path: Path, federation: Path) -> None:
    experiment = new_run(tmp_path / "run", federation)
    request = experiment.request("warm_up", number=0)
    request = replace(request, subject=replace(request.subject, classes=("red", "blue", "green")))
    refusal = site_of(tmp_path / "run", "site-1").answer(request).refusal
    assert "its data has other classes than the federation" in refusal
    assert "expected classes ['red', 'blue', 'green']" in log_of(tmp_path / "run", refusal)


def test_a_last_batch_of_one_image_is_no_trouble(tmp_path: Path) -> None:
    folder = write_federation(tmp_path / "fed", training=17, public=17)
    experiment = new_run(tmp_path / "run", folder)
    learn_twice(tmp_path / "run", experiment, restart=False)


def test_a_parameter_of_the_method_reaches_the_loss(tmp_path: Path, federation: Path) -> None:
    """Doubling both weights doubles the reported loss of an untrained site (no optimiser step in between)."""
    losses = []
    for number, factor in enumerate((1.0, 2.0)):
        changes = {"ce_weight": 0.1 * factor, "rce_weight": factor, "warm_up_epochs": 1}
        experiment = new_run(tmp_path / f"r{number}", federation, changes=changes)
        assert isinstance(experiment.method, Mdhfl)
        bundle = own_bundle(tmp_path / f"b{number}", ("lr: 0.001", "lr: 0.0"))
        site = site_of(tmp_path / f"r{number}", "site-1")
        site.settings = replace(site.settings, bundle=str(bundle))
        losses.append(site.answer(experiment.request("warm_up", number=0)).losses.train)
    assert losses[1] == pytest.approx(2 * losses[0], rel=1e-5)

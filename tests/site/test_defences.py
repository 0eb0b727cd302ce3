"""A site's policy: bad values in one line, what cannot be met by name, and nothing leaves that breaks it."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes.borders import Asked, ask_first
from fakes.simulated import new_run, numbers_of, site_of, tiny_bundle

from mdhfl.runs.inprocess import run_in_process
from mdhfl.server.results import Results
from mdhfl.sharing.coarsening import softened
from mdhfl.sharing.knowledge import Knowledge
from mdhfl.sharing.messages import Answer, Request
from mdhfl.sharing.reasons import Refusal
from mdhfl.sharing.teaching import leave_one_out, weighted_sum
from mdhfl.site.border import Border
from mdhfl.site.defences import Defences, Privacy
from mdhfl.site.guarding import guarded
from mdhfl.site.left import LEFT, answers_left, array_digest, read_left
from mdhfl.site.settings import read_site_settings

SITE = {
    "version": 1, "site": "site-1", "bundle": "resnet10", "data": "data", "public": "public", "state": "state",
    "device": "cpu", "threads": 1,
}  # fmt: skip
ALL = Defences(temperature=2.0, top_k=2, confidence=0.8, answered=0.5, precision=8, rounds=2)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ('{"defences": {"temperature": NaN}}', "defences: temperature: expected a number above 1 up to 100, got nan"),
        ('{"defences": {"temperature": Infinity}}', "temperature"),
        ('{"defences": {"confidence": NaN}}', "defences: confidence: expected a number above 0 and below 1, got nan"),
        ('{"defences": {"answered": NaN}}', "defences: answered: "),
        ('{"defences": {"temperature": 1}}', "temperature"),
        ('{"defences": {"top_k": 0}}', "top_k"),
        ('{"defences": {"top_k": 1.5}}', "top_k"),
        ('{"defences": {"confidence": -0.1}}', "confidence"),
        ('{"defences": {"confidence": 1}}', "confidence"),
        ('{"defences": {"answered": 0}}', "answered"),
        ('{"defences": {"precision": 9}}', "precision"),
        ('{"defences": {"rounds": 0}}', "rounds"),
        ('{"defences": {"round": 1}}', "'round' was unexpected"),
        ('{"privacy": {"epsilon": NaN, "delta": 1e-5}}', "privacy: epsilon: expected a number above 0"),
        ('{"privacy": {"epsilon": 1, "delta": NaN}}', "privacy: delta: "),
        ('{"privacy": {"epsilon": 1, "delta": 1e-5, "clipping": NaN}}', "privacy: clipping: "),
        ('{"privacy": {"epsilon": 0, "delta": 1e-5}}', "epsilon"),
        ('{"privacy": {"epsilon": -3, "delta": 1e-5}}', "epsilon"),
        ('{"privacy": {"epsilon": 1, "delta": 1}}', "delta"),
        ('{"privacy": {"epsilon": 1}}', "'delta' is a required property"),
        ('{"privacy": {"epsilon": 1, "delta": 1e-5, "rounds": 0}}', "rounds"),
    ],
)
def test_a_bad_value_names_the_file_and_the_field(tmp_path: Path, changes: str, said: str) -> None:
    path = tmp_path / "site.json"
    path.write_text(json.dumps(SITE)[:-1] + ", " + changes[1:])
    with pytest.raises(ValueError, match=said) as error:
        read_site_settings(path)
    assert "site.json" in str(error.value)


def test_a_policy_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "site.json"
    path.write_text(json.dumps(SITE))
    settings = replace(read_site_settings(path), defences=ALL, privacy=Privacy(epsilon=3, delta=1e-4, rounds=5))
    path.write_text(json.dumps(settings.to_json()))
    assert read_site_settings(path) == settings
    assert len(settings.policy) == 7
    assert settings.withheld == ("competences",)


@pytest.mark.parametrize(
    ("recipe", "defences", "named"),
    [
        ("fedmd", {"top_k": 2}, "top_k"),
        ("fedmd", {"confidence": 0.9}, "confidence"),
        ("fedmd", {"precision": 4}, "precision"),
        ("mdhfl", {"confidence": 0.3}, "confidence"),  # three classes
        ("mdhfl", {"confidence": 0.4, "precision": 1}, "confidence"),  # no row of whole units
        ("fedavg", {"precision": 16}, "precision"),
        ("sl_fedl", {"rounds": 1}, "rounds"),
        ("proxyfl", {"temperature": 2}, "temperature"),
    ],
)
def test_what_cannot_be_met_is_refused_by_name_before_a_run_and_at_the_first_request(
    tmp_path: Path, federation: Path, recipe: str, defences: Mapping[str, Any], named: str
) -> None:
    experiment = new_run(tmp_path / "run", federation, recipe=recipe, rounds=1)
    site = site_of(tmp_path / "run", "site-1")
    site.settings = replace(site.settings, defences=Defences(**defences))
    for action in ("open", "warm_up"):
        request = experiment.request(action, number=0)  # type: ignore[arg-type]
        refusal = Border(site.settings).let_out(site.answer(request).to_wire(), request).refusal
        assert f'it has a defence, "{named}"'.replace("it has", "has") in refusal.replace("its site.json ", "")
        assert "(defended; site.log: " in refusal
    assert not (site.settings.state / experiment.id / "state.pt").exists()
    with pytest.raises(Refusal, match=f"its defence '{named}' cannot be met"):
        new_run(tmp_path / "other", federation, recipe=recipe, rounds=1, defences=defences)
    assert not (tmp_path / "other" / "experiment.json").exists()


@pytest.mark.parametrize("recipe", ["fedmd", "mdhfl_geometric"])
def test_logits_are_divided_halved_and_left_out(tmp_path: Path, federation: Path, recipe: str) -> None:
    plain = knowledge_of(tmp_path / "a", federation, recipe, Defences())
    found = knowledge_of(tmp_path / "b", federation, recipe, Defences(temperature=2.0, precision=16, answered=0.5))
    assert found.dtype == np.float16
    silent = (found == 0).all(axis=1)
    assert silent.sum() == 10  # of 20 public images
    np.testing.assert_array_equal(found[~silent], (plain / 2).astype(np.float16)[~silent])


def knowledge_of(folder: Path, federation: Path, recipe: str, defences: Defences) -> np.ndarray:
    experiment = new_run(folder, federation, recipe=recipe, bundles=(str(tiny_bundle(folder.parent / "tiny")),))
    site, request = site_of(folder, "site-1"), experiment.request("warm_up", number=0)
    site.settings = replace(site.settings, defences=defences)
    answer = Border(site.settings).let_out(site.answer(request).to_wire(), request)
    assert isinstance(answer.shared, Knowledge), answer.refusal
    return answer.shared.values


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory, federation: Path) -> Asked:
    """A sure answer of a site without defences."""
    found = ask_first(tmp_path_factory.mktemp("asked") / "run", federation)
    shared = found.answer.shared
    assert isinstance(shared, Knowledge)
    sure = softened(shared.values, temperature=0.02)
    return replace(found, answer=replace(found.answer, shared=replace(shared, values=sure)))


@pytest.mark.parametrize(
    "defences", [{"top_k": 1}, {"confidence": 0.34}, {"answered": 0.5}, {"precision": 4}, {"precision": 16}]
)
def test_the_border_lets_nothing_out_that_breaks_a_defence(asked: Asked, defences: Mapping[str, Any]) -> None:
    """Whoever made the answer: it was made without any defence."""
    settings = replace(asked.settings, defences=Defences(**defences), state=asked.run / "elsewhere" / str(defences))
    answer = Border(settings).let_out(asked.answer.to_wire(), asked.request)
    assert "(held_back; site.log: " in answer.refusal
    assert answer.shared is None


@pytest.mark.parametrize("count", [3, 4])
def test_as_many_top_classes_as_there_are_or_more_change_nothing(asked: Asked, count: int) -> None:
    """The small federation has 3 classes: what a policy cannot take from an answer, the border does not miss."""
    settings = replace(asked.settings, defences=Defences(top_k=count), state=asked.run / "elsewhere" / f"top {count}")
    shared = asked.answer.shared
    assert isinstance(shared, Knowledge)
    said = guarded(shared, last=None, settings=settings, request=asked.request)
    answer = Border(settings).let_out(replace(asked.answer, shared=said).to_wire(), asked.request)
    assert isinstance(answer.shared, Knowledge), answer.refusal
    np.testing.assert_allclose(answer.shared.values, shared.values, atol=1e-6)


def test_the_limit_of_rounds_holds_at_the_border_without_any_state(asked: Asked, tmp_path: Path) -> None:
    """Different answers of more rounds than allowed: its own list of what left is enough, as after a lost state."""
    settings = replace(asked.settings, defences=Defences(rounds=2), state=tmp_path)
    shared = asked.answer.shared
    assert isinstance(shared, Knowledge)
    refusals = []
    for number, values in enumerate([shared.values, shared.values[::-1], shared.values, np.roll(shared.values, 1)]):
        answer = replace(asked.answer, shared=replace(shared, values=np.ascontiguousarray(values)))
        refusals.append(Border(settings).let_out(answer.to_wire(), asked.request).refusal)
        assert bool(refusals[-1]) == (number == 3), number  # the third says again what has left already
    folder = tmp_path / asked.experiment.id
    assert len(answers_left(folder)) == 2
    with (folder / LEFT).open("a") as file:
        file.write("half a li")
    assert len(answers_left(folder)) == 3  # never fewer than there were


def defended_run(
    folder: Path, federation: Path, recipe: str, *, rounds: int, **changes: Any
) -> tuple[list[dict[str, Any]], list[tuple[Request, Answer]]]:
    defences = ALL.chosen
    experiment = new_run(folder, federation, recipe=recipe, rounds=rounds, changes=changes, defences=defences)
    exchanges: list[tuple[Request, Answer]] = []
    summary = run_in_process(folder, experiment=experiment, on_answer=lambda q, a: exchanges.append((q, a)))
    assert not any(site["refused"] for site in summary["sites"].values())
    return numbers_of(Results(folder, experiment=experiment).rows()), exchanges


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["mdhfl", "rhfl", "mdhfl_attention", "mdhfl_plus"])
def test_all_defences_together_hold_in_every_round(tmp_path: Path, federation: Path, recipe: str) -> None:
    changes = {"competence_epochs": 1, "views": 2, "patience": 0.5} if recipe == "mdhfl_plus" else {"ce_weight": 1.0}
    _, exchanges = defended_run(tmp_path / "run", federation, recipe, rounds=3, warm_up_epochs=4, **changes)
    said: dict[str, list[np.ndarray]] = {}
    for request, answer in exchanges:
        if request.action in ("warm_up", "learn"):
            assert isinstance(answer.shared, Knowledge)
            said.setdefault(answer.site, []).append(answer.shared.values)
    for values in said.values():
        assert len(values) == 4
        assert all(each.dtype == np.float16 for each in values)
        assert max(each.max() for each in values) <= 0.8 + 1e-3
        assert not np.array_equal(values[0], values[1])
        np.testing.assert_array_equal(values[1], values[2])
        np.testing.assert_array_equal(values[1], values[3])
    lines = read_left(next((tmp_path / "run" / "sites" / "site-1").glob(f"*/{LEFT}")))
    assert all(line["defences"] == ALL.in_words() for line in lines)


def test_a_site_subtracts_what_it_has_sent_also_after_a_restart(tmp_path: Path, federation: Path) -> None:
    """The teacher of two sites is exactly what the other one sent, and a new process keeps the same answer."""
    experiment = new_run(tmp_path / "run", federation, rounds=2, changes={"warm_up_epochs": 1}, defences=ALL.chosen)
    sent = {}
    for name in experiment.sites:
        site, request = site_of(tmp_path / "run", name), experiment.request("warm_up", number=0)
        answer = Border(site.settings).let_out(site.answer(request).to_wire(), request)
        assert isinstance(answer.shared, Knowledge)
        sent[name] = answer.shared
        site.close()
    again = site_of(tmp_path / "run", "site-1")
    kept = again.answer(experiment.request("warm_up", number=0)).shared  # from its state: nothing is trained
    again.close()
    assert isinstance(kept, Knowledge)
    assert array_digest(kept.values) == array_digest(sent["site-1"].values)
    assert kept.values.dtype == np.float16
    teaching = weighted_sum(sent, weights=dict.fromkeys(sent, 1.0))
    teacher = leave_one_out(teaching, own=kept, site="site-1")
    assert teacher is not None
    other = sent["site-2"].values.astype(np.float64)
    np.testing.assert_allclose(teacher, other / other.sum(axis=1, keepdims=True), atol=1e-6)


def test_an_interrupted_run_goes_on_with_the_same_numbers(tmp_path: Path, federation: Path) -> None:
    whole, _ = defended_run(tmp_path / "whole", federation, "mdhfl", rounds=3, warm_up_epochs=1)
    folder = tmp_path / "parts"
    experiment = new_run(folder, federation, rounds=3, changes={"warm_up_epochs": 1}, defences=ALL.chosen)

    class Interrupted(Exception):
        pass

    def stop_in_round_2(request: Request, answer: Answer) -> None:
        if request.round == 2:
            raise Interrupted

    with pytest.raises(Interrupted):
        run_in_process(folder, experiment=experiment, on_answer=stop_in_round_2)
    run_in_process(folder, experiment=experiment)
    assert numbers_of(Results(folder, experiment=experiment).rows()) == whole

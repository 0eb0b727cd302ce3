"""FedDF's server: a site's model that it cannot use is refused by name, and the others go on."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fakes.simulated import changes_for, new_run

from mdhfl.rounds.loop import federate
from mdhfl.runs.folder import server_settings_path
from mdhfl.runs.inprocess import ask_in_process, open_sites
from mdhfl.server.settings import read_server_settings
from mdhfl.server.trainer import trainer_from
from mdhfl.sharing.exchange import Round
from mdhfl.sharing.messages import Answer, Request
from mdhfl.sharing.weights import Weights

SITES = ("site-1", "site-2", "site-3")


def nan_variances(weights: Weights) -> Weights:
    values = np.full_like(weights.values, -1e6)
    return replace(weights, values=values)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda weights: replace(weights, bundle="nobodys"), "expected a bundle among"),
        (lambda weights: replace(weights, layout="0" * 64), "expected the layout|expected weights of layout"),
        (nan_variances, "NaN or infinite"),
    ],
)
def test_a_model_that_the_server_cannot_use_is_refused_by_name(
    change: Callable[[Weights], Weights], said: str, tmp_path: Path, three_sites: Path
) -> None:
    experiment = new_run(tmp_path, three_sites, recipe="feddf", rounds=1, changes=changes_for("feddf"))
    honest = ask_in_process(open_sites(tmp_path, names=SITES))

    def ask(requests: Mapping[str, Request]) -> Mapping[str, Answer]:
        answers = dict(honest(requests))
        spoilt = answers["site-2"]
        if spoilt.round == 0 and isinstance(spoilt.shared, Weights):
            answers["site-2"] = replace(spoilt, shared=change(spoilt.shared))
        return answers

    rounds: list[Round] = []
    open_trainer = trainer_from(server_settings_path(tmp_path), experiment=experiment)
    federate(experiment, ask=ask, record=rounds.append, open_trainer=open_trainer)
    assert set(rounds[0].shared) == {"site-1", "site-3"}
    assert any(part in rounds[0].answers["site-2"].refusal for part in said.split("|"))
    assert not any(answer.refusal for later in rounds[1:] for answer in later.answers.values())


def test_a_server_that_trains_nothing_may_name_methods_alone(tmp_path: Path, three_sites: Path) -> None:
    path = tmp_path / "server.json"
    path.write_text(json.dumps({"version": 1, "methods": ["ours.first"]}))
    settings = read_server_settings(path)
    assert settings.methods == ("ours.first",)
    assert settings.to_json() == json.loads(path.read_text())
    experiment = new_run(tmp_path / "run", three_sites, recipe="feddf", rounds=1, changes=changes_for("feddf"))
    with pytest.raises(ValueError, match="this method trains at the server, expected public, validation, bundles"):
        trainer_from(path, experiment=experiment)()


@pytest.mark.parametrize("field", ["public", "validation", "bundles", "device", "threads"])
def test_a_server_that_trains_needs_all_that_it_trains_with(field: str, tmp_path: Path) -> None:
    whole = {"version": 1, "public": "p", "validation": "v", "bundles": ["resnet10"], "device": "cpu", "threads": 1}
    path = tmp_path / "server.json"
    path.write_text(json.dumps({name: value for name, value in whole.items() if name != field}))
    with pytest.raises(ValueError, match=field):
        read_server_settings(path)

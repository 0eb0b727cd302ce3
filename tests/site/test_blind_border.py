"""What leaves a site in a blind sum has the size that was asked for, is for that very sum, and is never knowledge."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes.simulated import new_run, tiny_bundle

from mdhfl.methods import KnowledgeMethod
from mdhfl.methods.blind import masked_round, opened_sum
from mdhfl.rounds.experiment import Experiment
from mdhfl.runs.inprocess import ask_in_process, open_sites
from mdhfl.sharing.exchange import Round
from mdhfl.sharing.knowledge import Knowledge
from mdhfl.sharing.messages import Answer, Request
from mdhfl.sharing.packing import payload_bytes
from mdhfl.site.border import Border
from mdhfl.site.site import Site

SITES = ("site-1", "site-2", "site-3")


@dataclass
class Exchange:
    """A blind sum of three real sites, and each request to the first with its answer before the border."""

    site: Site
    said: dict[str, tuple[Request, Answer]]


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory, three_sites: Path) -> Exchange:
    folder = tmp_path_factory.mktemp("border")
    bundles = (str(tiny_bundle(folder / "tiny")),)
    experiment = new_run(folder / "run", three_sites, bundles=bundles, changes={"warm_up_epochs": 1, "blind": True})
    sites = open_sites(folder / "run", names=SITES)
    said: dict[str, tuple[Request, Answer]] = {}
    ask, real = ask_in_process(sites), sites["site-1"].answer

    def noted(request: Request, **how: Any) -> Answer:
        answer = real(request, **how)
        said[request.action] = request, answer
        return answer

    sites["site-1"].answer = noted  # type: ignore[method-assign]
    _sum(experiment, ask)
    return Exchange(site=sites["site-1"], said=said)


def _sum(experiment: Experiment, ask: Any) -> None:
    class Server:
        experiment = ""

        def ask(self, sites: Any, action: Any, lesson: Any) -> Any:
            return ask(dict.fromkeys(sites, run.request(action, number=0, lesson=lesson)))

    run, server = experiment, Server()
    server.experiment = run.id
    method = run.method
    assert isinstance(method, KnowledgeMethod)
    requests = dict.fromkeys(SITES, run.request("warm_up", number=0))
    answers = ask(requests)
    pledged = Round(
        number=0, requests=requests, answers=answers, shared={site: answer.shared for site, answer in answers.items()}
    )
    shape = method.summand_shape(run.subject)
    masked = masked_round(pledged, server, subject=run.subject, shape=shape)  # type: ignore[arg-type]
    assert set(opened_sum(masked, server, subject=run.subject)) == set(SITES)  # type: ignore[arg-type]


@pytest.mark.parametrize("action", ["warm_up", "commit", "reveal"])
def test_what_an_honest_site_says_passes_unchanged(exchange: Exchange, action: str) -> None:
    request, answer = exchange.said[action]
    out = Border(exchange.site.settings).checked(answer.to_wire(), request)
    assert not out.refusal
    assert out.shared is not None
    assert answer.shared is not None
    assert payload_bytes(out.shared) == payload_bytes(answer.shared)
    kind = {"warm_up": "pledge", "commit": "masked", "reveal": "opened"}[action]
    assert out.shared.kind == kind


def knowledge(request: Request) -> Knowledge:
    values = np.full(request.subject.shape, 1 / request.subject.shape[1], np.float32)
    return Knowledge(values=values, subject=request.subject, site="site-1", round=0)


def with_shared(**changes: Any) -> Callable[[Request, Any], Any]:
    return lambda request, shared: replace(shared, **{n: change(shared) for n, change in changes.items()})


WRONG: dict[str, tuple[str, Callable[[Request, Any], Any]]] = {
    "knowledge for a pledge": ("warm_up", lambda request, shared: knowledge(request)),
    "a pledge with another's signature": ("warm_up", with_shared(signature=lambda s: "ab" * 64)),
    "a pledge of another key": ("warm_up", with_shared(key=lambda s: "ab" * 32)),
    "knowledge for masked numbers": ("commit", lambda request, shared: knowledge(request)),
    "a pledge for masked numbers": ("commit", lambda request, shared: shared.pledge),
    "nothing": ("commit", lambda request, shared: None),
    "a row more": ("commit", with_shared(values=lambda s: np.vstack([s.values, s.values[:1]]))),
    "a column less": ("commit", with_shared(values=lambda s: s.values[:, :-1].copy())),
    "another sum": ("commit", with_shared(roll=lambda s: "ab" * 32)),
    "another site's pledge": ("commit", with_shared(pledge=lambda s: replace(s.pledge, key="ab" * 32))),
    "shares for more members": (
        "commit",
        with_shared(
            sealed=lambda s: np.zeros((4, 4, 48), np.uint8),
            checks=lambda s: np.zeros((4, 4, 16), np.uint8),
            veils=lambda s: np.zeros((4, 48), np.uint8),
        ),
    ),
    "numbers of another type": ("commit", with_shared(values=lambda s: s.values.astype(np.float32))),
    "longer seals": ("commit", with_shared(sealed=lambda s: np.zeros((3, 3, 64), np.uint8))),
    "masked numbers for shares": ("reveal", lambda request, shared: knowledge(request)),
    "more shares": ("reveal", with_shared(shares=lambda s: np.zeros((3, 2, 32), np.uint8))),
    "shares of another sum": ("reveal", with_shared(roll=lambda s: "ab" * 32)),
    "longer shares": ("reveal", with_shared(shares=lambda s: np.zeros((3, 1, 64), np.uint8))),
}


@pytest.mark.parametrize("name", WRONG)
def test_anything_else_is_held_back(exchange: Exchange, name: str) -> None:
    action, wrong = WRONG[name]
    request, answer = exchange.said[action]
    out = Border(exchange.site.settings).checked(
        replace(answer, shared=wrong(request, answer.shared)).to_wire(), request
    )
    assert "(held_back; site.log: " in out.refusal
    assert out.shared is None


def test_a_site_that_allows_no_blind_sums_lets_none_of_it_out(exchange: Exchange) -> None:
    border = Border(replace(exchange.site.settings, may_share=("knowledge",)))
    for request, answer in exchange.said.values():
        if answer.shared is not None:
            out = border.checked(answer.to_wire(), request)
            assert '"blind_knowledge" to "may_share" (method_not_allowed' in out.refusal

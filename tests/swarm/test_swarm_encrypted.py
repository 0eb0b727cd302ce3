"""A swarm whose leader adds ciphertexts: the same mean, by a leader that never holds the key."""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes.simulated import numbers_of, run
from fakes.swarms import SITES, Spoiled, ledgers_of, start, stop_at, with_a_spoiled_peer

from mdhfl.rounds.loop import federate
from mdhfl.runs.inprocess import run_in_process
from mdhfl.server.results import Results
from mdhfl.sharing.messages import Answer, Request
from mdhfl.sharing.weights import mean_of
from mdhfl.site.site import Site
from mdhfl.swarm.ckks import SecretContext


@pytest.mark.slow
def test_an_encrypted_merge_is_the_plain_mean_within_the_schemes_error(tmp_path: Path, three_sites: Path) -> None:
    folder = tmp_path / "run"
    experiment, results = start(folder, three_sites, rounds=1, recipe="swarm_fhe")
    errors = []

    def spoil(ask: Any, requests: Mapping[str, Request]) -> Mapping[str, Answer]:
        answers = ask(requests)
        if next(iter(requests.values())).action == "merge":
            request = next(iter(requests.values()))
            works = {name: site._work for name, site in spoiled.sites.items()}
            models = {
                name: site._between_rounds(works[name], request).weights()  # type: ignore[arg-type]
                for name, site in spoiled.sites.items()
            }
            expected = mean_of(models).values
            for swarm in (work.swarm for work in works.values() if work is not None):
                assert swarm is not None
                assert swarm._kept is not None
                assert swarm._kept.merged is not None
                errors.append(np.abs(swarm._kept.merged.values - expected).max() / np.abs(expected).max())
        return answers

    spoiled = Spoiled(folder, spoil)
    federate(experiment, ask=spoiled, record=results.record)
    assert len(errors) == 2 * 3  # the leader's too, which the keeper has decrypted for it
    assert max(errors) < 1e-6
    rows = results.rows()
    assert {"encrypt", "decrypt", "merge"} <= {phase for row in rows for phase in row["seconds"]}
    merged = [row for row in rows if row["round"]]
    assert all(row["bytes"]["up"] > 5 * 4 * row["about"]["parameters"] for row in merged)  # five times float32


@pytest.mark.slow
def test_the_leader_of_an_encrypted_merge_never_holds_its_key(tmp_path: Path, three_sites: Path) -> None:
    folder = tmp_path / "run"
    experiment, results = start(folder, three_sites, rounds=1, recipe="swarm_fhe")
    held: list[tuple[str, set[str]]] = []

    def spoil(ask: Any, requests: Mapping[str, Request]) -> Mapping[str, Answer]:
        answers = ask(requests)
        request = next(iter(requests.values()))
        if request.action == "merge":
            with_key = {s for s, site in spoiled.sites.items() if site._work and site._work.swarm._secret}  # type: ignore[union-attr]
            held.append((request.lesson.leader, with_key))  # type: ignore[union-attr]
        return answers

    spoiled = Spoiled(folder, spoil)
    federate(experiment, ask=spoiled, record=results.record)
    assert len(held) == 2
    for leader, with_key in held:
        assert with_key == set(SITES) - {leader}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ask", "spoil"),
    [
        ("take key", lambda message: {**message, "secret": SecretContext.create().to_bytes()}),
        ("take key", lambda message: {**message, "secret": b"garbage"}),
        ("share", lambda message: {**message, "public": b"garbage"}),
    ],
)
def test_a_wrong_key_on_the_way_leaves_nobody_with_a_wrong_model(
    tmp_path: Path, three_sites: Path, ask: str, spoil: Callable[[Mapping[str, Any]], Mapping[str, Any]]
) -> None:
    """A member with a wrong key finds out by itself: the leader's context is not its key holder's."""
    folder = tmp_path / "run"
    experiment, results = start(folder, three_sites, rounds=1, recipe="swarm_fhe")

    def spoiled(site: Site, sender: str, message: Mapping[str, Any]) -> dict[str, Any]:
        return Site.receive(site, sender, spoil(message) if message["ask"] == ask else message)

    federate(experiment, ask=with_a_spoiled_peer(folder, "site-2", spoiled), record=results.record)
    check_left_out(folder, results, "site-2")


@pytest.mark.slow
@pytest.mark.parametrize(
    "craft",
    [
        lambda cipher: {**cipher, **crafted(cipher, bytes(len(cipher["data"])))},
        lambda cipher: {**cipher, **crafted(cipher, cipher["data"][:100])},
        lambda cipher: {**cipher, "data": "text"},
        lambda cipher: {**cipher, "length": 10**30},
        lambda cipher: {**cipher, "addends": float("nan")},
        lambda cipher: {**cipher, "addends": 1},  # sound by itself, and no sum can be made with it
        lambda cipher: None,
    ],
)
def test_a_crafted_ciphertext_is_left_out_and_the_leader_goes_on(
    tmp_path: Path, three_sites: Path, craft: Callable[[dict[str, Any]], Any]
) -> None:
    folder = tmp_path / "run"
    experiment, results = start(folder, three_sites, rounds=1, recipe="swarm_fhe")

    def spoiled(site: Site, sender: str, message: Mapping[str, Any]) -> dict[str, Any]:
        reply = Site.receive(site, sender, message)
        return {**reply, "result": craft(reply["result"])} if "result" in reply else reply

    federate(experiment, ask=with_a_spoiled_peer(folder, "site-2", spoiled), record=results.record)
    check_left_out(folder, results, "site-2")


@pytest.mark.slow
def test_a_crafted_sum_is_not_taken_over(tmp_path: Path, three_sites: Path) -> None:
    """By the leader, or on the way from it: the ledger that it signed names another."""
    folder = tmp_path / "run"
    experiment, results = start(folder, three_sites, rounds=1, recipe="swarm_fhe")

    def spoiled(site: Site, sender: str, message: Mapping[str, Any]) -> dict[str, Any]:
        if message["ask"] == "adopt":
            result = message["result"]
            message = {**message, "result": {**result, **crafted(result, bytes(len(result["data"])))}}
        return Site.receive(site, sender, message)

    federate(experiment, ask=with_a_spoiled_peer(folder, "site-2", spoiled), record=results.record)
    merge = ledgers_of(folder)["site-1"].entries[0]
    rows = {(row["round"], row["site"]): row["about"]["merged_by"] for row in results.rows()}
    assert (rows[1, "site-2"] == "") == (merge.turn.leader != "site-2")


@pytest.mark.slow
@pytest.mark.parametrize("at", [("merge", 0), ("merge", 1), ("learn", 1), ("adopt", 2)])
def test_an_encrypted_swarm_goes_on_after_a_kill(tmp_path: Path, three_sites: Path, at: tuple[str, int]) -> None:
    folder = tmp_path / "run"
    experiment, results = start(folder, three_sites, rounds=1, recipe="swarm_fhe", min_sites=3)
    with pytest.raises(KeyboardInterrupt):
        run_in_process(folder, experiment=experiment, on_answer=stop_at(*at))
    assert run_in_process(folder, experiment=experiment)["status"] == "finished"
    assert all(row["about"]["merged_by"] for row in results.rows() if row["round"])
    plain, _ = run(tmp_path / "plain", three_sites, "sl_fedl", rounds=1, bundles=(str(tmp_path / "tiny"),))
    for row, expected in zip(numbers_of(results.rows()), plain, strict=True):
        if row["losses"]["train"] is not None:
            assert row["losses"]["train"] == pytest.approx(expected["losses"]["train"], rel=1e-4)


def crafted(cipher: Mapping[str, Any], data: bytes) -> dict[str, Any]:
    return {"data": data, "digest": hashlib.sha256(data).hexdigest()}


def check_left_out(folder: Path, results: Results, site: str) -> None:
    """The first merge was made without a site, unless it led; the second with it."""
    first, second = ledgers_of(folder)[site].entries
    assert (site in first.shares) == (site in (first.turn.leader, first.turn.key_holder) and site in first.shares)
    assert len(first.shares) >= 2
    assert set(second.shares) == set(SITES)
    rows = {(row["round"], row["site"]): row["about"]["merged_by"] for row in results.rows()}
    assert (rows[1, site] == "") == (site not in first.shares)

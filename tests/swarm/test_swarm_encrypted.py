"""A swarm whose leader adds ciphertexts: the same mean, by a leader that never holds the key."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from fakes.swarms import SITES, Spoiled, ledgers_of, start, with_a_spoiled_peer

from mdhfl.rounds.loop import federate
from mdhfl.sharing.messages import Answer, Request
from mdhfl.sharing.turns import elect
from mdhfl.sharing.weights import mean_of
from mdhfl.site.site import Site
from mdhfl.swarm.ckks import SecretContext


def test_an_encrypted_merge_is_the_plain_mean_within_the_schemes_error(tmp_path: Path, three_sites: Path) -> None:
    experiment, results = start(tmp_path, three_sites, rounds=1, recipe="swarm_fhe")
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
                assert swarm._pending is not None
                assert swarm._pending.merged is not None
                errors.append(np.abs(swarm._pending.merged.values - expected).max() / np.abs(expected).max())
        return answers

    spoiled = Spoiled(tmp_path, spoil)
    federate(experiment, ask=spoiled, record=results.record)
    assert len(errors) == 2 * 3  # the leader's too, which the keeper has decrypted for it
    assert max(errors) < 1e-6
    rows = results.rows()
    assert {"encrypt", "decrypt", "merge"} <= {phase for row in rows for phase in row["seconds"]}
    merged = [row for row in rows if row["round"]]
    assert all(row["bytes"]["up"] > 5 * 4 * row["about"]["parameters"] for row in merged)  # five times float32


def test_the_leader_of_an_encrypted_merge_never_holds_its_key(tmp_path: Path, three_sites: Path) -> None:
    experiment, results = start(tmp_path, three_sites, rounds=1, recipe="swarm_fhe")
    held: list[tuple[str, set[str]]] = []

    def spoil(ask: Any, requests: Mapping[str, Request]) -> Mapping[str, Answer]:
        answers = ask(requests)
        request = next(iter(requests.values()))
        if request.action == "merge":
            with_key = {s for s, site in spoiled.sites.items() if site._work and site._work.swarm._secrets}  # type: ignore[union-attr]
            held.append((request.lesson.leader, with_key))  # type: ignore[union-attr]
        return answers

    spoiled = Spoiled(tmp_path, spoil)
    federate(experiment, ask=spoiled, record=results.record)
    assert len(held) == 2
    for leader, with_key in held:
        assert with_key == set(SITES) - {leader}


def test_a_ciphertext_of_another_key_is_left_out_by_name(tmp_path: Path, three_sites: Path) -> None:
    """A member with a wrong key finds out by itself: the leader's context is not its keeper's."""
    experiment, results = start(tmp_path, three_sites, rounds=1, recipe="swarm_fhe")
    order = elect(SITES, experiment=experiment.id, number=0)

    def with_another_key(site: Site, sender: str, message: Mapping[str, Any]) -> dict[str, Any]:
        if message["ask"] == "take key":
            message = {**message, "secret": SecretContext.create().to_bytes()}
        return Site.receive(site, sender, message)

    federate(experiment, ask=with_a_spoiled_peer(tmp_path, order[2], with_another_key), record=results.record)
    merges = [e for e in ledgers_of(tmp_path)[order[0]].entries if e.kind == "merge"]
    assert set(merges[0].content["shares"]) == {order[0], order[1]}
    rows = {(row["round"], row["site"]): row for row in results.rows()}
    assert rows[1, order[2]]["about"]["merged_by"] == ""

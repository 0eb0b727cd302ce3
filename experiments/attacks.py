"""What a site that poisons sends instead of what its model says. For experiments and tests; no part of the package.

Every attack passes the server's checks: probabilities in rows that sum to 1. `label flips` is none of these: there the
site's training labels are wrong, and it sends what it has honestly learned from them.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mdhfl.sharing.exchange import Ask
from mdhfl.sharing.knowledge import Knowledge
from mdhfl.sharing.messages import Answer, Request

Values = NDArray[np.float64]
Attack = Callable[[Values, int, Mapping[str, Values], np.random.Generator], Values]
DRIFTED = 5  # rounds until a drift has arrived


def one_class(own: Values, number: int, others: Mapping[str, Values], random: np.random.Generator) -> Values:
    """Everything is of the first class, almost surely; noise hides that nothing was looked at."""
    values = 0.02 * np.exp(random.normal(0, 0.5, own.shape))
    values[:, 0] = 1.0
    return _rows(values)


def permuted(own: Values, number: int, others: Mapping[str, Values], random: np.random.Generator) -> Values:
    """Every class under the next one's name."""
    return np.roll(own, 1, axis=1)


def sharp_permuted(own: Values, number: int, others: Mapping[str, Values], random: np.random.Generator) -> Values:
    """The same, and surer of it than the model is."""
    return _rows(np.roll(own, 1, axis=1) ** 4)


def two_swapped(own: Values, number: int, others: Mapping[str, Values], random: np.random.Generator) -> Values:
    """The two classes that the site mentions most under each other's name."""
    first, second = np.argsort(own.mean(axis=0))[-2:]
    values = own.copy()
    values[:, [first, second]] = own[:, [second, first]]
    return values


def copied(own: Values, number: int, others: Mapping[str, Values], random: np.random.Generator) -> Values:
    """What the first other site says, with a little noise."""
    return _rows(others[min(others)] * np.exp(random.normal(0, 0.02, own.shape)))


def random_rows(own: Values, number: int, others: Mapping[str, Values], random: np.random.Generator) -> Values:
    """Sure answers that have nothing to do with the images."""
    return random.dirichlet(np.full(own.shape[1], 0.3), size=len(own))


def drifting(own: Values, number: int, others: Mapping[str, Values], random: np.random.Generator) -> Values:
    """A little more permuted with every round."""
    share = min(1.0, number / DRIFTED)
    return (1 - share) * own + share * np.roll(own, 1, axis=1)


ATTACKS: Mapping[str, Attack] = {
    "one class": one_class,
    "permuted": permuted,
    "sharp and permuted": sharp_permuted,
    "two swapped": two_swapped,
    "copy": copied,
    "random rows": random_rows,
    "slow drift": drifting,
}


def poisoned(ask: Ask, *, attackers: Mapping[str, Attack], seed: int) -> Ask:
    """Return an `ask` in which some sites send something else than they say.

    Args:
        ask: the honest one.
        attackers: site -> its attack.
        seed: of what attacks draw.
    """

    def asked(requests: Mapping[str, Request]) -> Mapping[str, Answer]:
        answers = dict(ask(requests))
        said = {site: answer.shared for site, answer in answers.items() if isinstance(answer.shared, Knowledge)}
        values = {site: knowledge.values.astype(np.float64) for site, knowledge in said.items()}
        for site in sorted(set(attackers) & set(said)):
            others = {other: rows for other, rows in values.items() if other not in attackers}
            random = np.random.default_rng([seed, said[site].round, sorted(said).index(site)])
            sent = attackers[site](values[site], said[site].round, others, random).astype(np.float32)
            answers[site] = replace(answers[site], shared=replace(said[site], values=sent))
        return answers

    return asked


def _rows(values: Values) -> Values:
    rows: Values = values / values.sum(axis=1, keepdims=True)
    return rows

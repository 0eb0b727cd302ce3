"""What a site's private training has spent of its privacy budget, and may still spend: kept in its `state` folder.

One account for all experiments: whoever starts another one gets no new budget. Epsilon is computed by Opacus'
accountant of Renyi differential privacy (Mironov, Talwar, Zhang, arXiv 1908.10530) from the list of all steps; its
neighbours differ in one training image, added or removed.

A phase of training is entered before it begins. It is known by all that decides its outcome, and its random numbers
follow from that and from a secret of the site: done again after an interruption it gives the same weights, and so
nothing new; begun from anything else it has other noise, and is charged.
"""

import hashlib
import json
import math
import secrets
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from mdhfl.extras import MissingExtra, require
from mdhfl.sharing.reasons import Refusal
from mdhfl.site.defences import Privacy
from mdhfl.site.settings import SiteSettings
from mdhfl.store.lock import FolderLock, InUse
from mdhfl.store.sealed import exists, read_sealed_json, write_sealed_json

ACCOUNT = "budget.json"  # in the site's state folder
SMALLEST_NOISE = 0.1  # on a sum of gradients, in units of the clipping
LARGEST_NOISE = 100.0  # with more nothing is learned from a few hundred images
PATIENCE = 50  # tenths of a second that the account may be in use
STEPS_OF_SEARCH = 24  # halvings, on a logarithmic scale: what they leave over is too little for another experiment

Steps = tuple[float, float, int]  # noise, sample rate, number: as Opacus' accountants keep them


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What an experiment may spend at a site.

    Attributes:
        noise: of each of its steps, in units of the clipping.
        rate: with which a step samples each image.
        spent: epsilon of all that was done before, this experiment's finished part included.
        epsilon: of all, when the experiment's planned rounds are over.
        delta: of both.
    """

    noise: float
    rate: float
    spent: float
    epsilon: float
    delta: float

    def in_words(self) -> str:
        """Return the plan in a phrase."""
        return (
            f"spent so far {self.spent:.2f}, after this experiment's planned rounds {self.epsilon:.2f}; noise "
            f"{self.noise:.2f}, an image in {self.rate:.1%} of the steps"
        )


class Account:
    """A site's account: the steps of private training, by experiment and phase."""

    def __init__(self, settings: SiteSettings, *, writes: bool = True) -> None:
        """Name the place.

        Args:
            settings: of a site that has a privacy budget.
            writes: whether what begins is entered; else only looked at what would be.
        """
        assert settings.privacy is not None
        self._policy: Privacy = settings.privacy
        self._site, self._folder = settings.site, settings.state
        self._writes = writes
        self._path: Path = settings.state / ACCOUNT

    def plan(self, experiment: str, *, images: int, batch_size: int, warm_up_epochs: int, local_epochs: int) -> Plan:
        """Return what an experiment may spend: as it was planned when it began, or else from what is left.

        Args:
            experiment: its id.
            images: number of training images.
            batch_size: of the bundle: as many images a step samples in the mean.
            warm_up_epochs: of the method.
            local_epochs: of the method, in each round.

        Raises:
            Refusal: the budget cannot be met; the text has the figure of what could be.
            StateError: the account is damaged, or cannot be written.
        """
        from mdhfl.learning.private_training import steps_per_epoch

        policy, per_epoch = self._policy, steps_per_epoch(images, batch_size=batch_size)
        epochs = warm_up_epochs + policy.rounds * local_epochs
        rate, steps = 1 / per_epoch, epochs * per_epoch
        if policy.delta >= 1 / images:
            raise Refusal(
                "privacy_unmet",
                f"site {self._site!r}: privacy: delta: expected below {1 / images:.3g}, one over its {images} training "
                f"images, got {policy.delta:g}: with more a whole image could be given away",
            )
        with self._open() as account:
            begun = account["experiments"].get(experiment)
            if begun is None:
                before = _history(account)
                noise = self._noise(before, rate=rate, steps=steps, epochs=epochs)
                begun = account["experiments"][experiment] = {"noise": noise, "rate": rate}
                self._write(account)
            others, own = _history(account, without=experiment), _history(account, only=experiment)
            done = sum(count for _, _, count in own)
            rest = (begun["noise"], begun["rate"], max(0, steps - done))
            return Plan(
                noise=begun["noise"],
                rate=begun["rate"],
                spent=epsilon_of([*others, *own], delta=policy.delta),
                epsilon=epsilon_of([*others, *own, rest], delta=policy.delta),
                delta=policy.delta,
            )

    def charge(self, experiment: str, *, phase: str, steps: int, outcome: Mapping[str, Any]) -> int:
        """Enter a phase of training before it begins, and return the seed of its random numbers, in [0, 2**63).

        Args:
            experiment: its id; `plan` knows it.
            phase: for people.
            steps: of the phase.
            outcome: all that decides what the phase makes of the training images, as plain values.

        Raises:
            Refusal: the budget does not allow it; nothing was entered.
            StateError: the account is damaged, or cannot be written; the phase must not begin.
        """
        with self._open() as account:
            begun = account["experiments"][experiment]
            key = _key({"experiment": experiment, "phase": phase, "steps": steps, **begun, **outcome})
            if steps and key not in {entry["key"] for entry in account["phases"]}:
                entry = {"experiment": experiment, "phase": phase, "key": key, **begun, "steps": steps}
                would = epsilon_of([*_history(account), _steps(entry)], delta=self._policy.delta)
                if would > self._policy.epsilon:
                    spent = epsilon_of(_history(account), delta=self._policy.delta)
                    raise Refusal(
                        "budget_spent",
                        f"site {self._site!r}: {phase} of experiment {experiment!r} would bring epsilon from "
                        f"{spent:.3f} to {would:.3f}, beyond the {self._policy.epsilon:g} of privacy in site.json",
                    )
                account["phases"].append(entry)
                self._write(account)
            return int.from_bytes(hashlib.sha256(f"{account['secret']}/{key}".encode()).digest()[:8], "big") >> 1

    def spent(self) -> float:
        """Return the epsilon of all that was entered."""
        with self._open() as account:
            return epsilon_of(_history(account), delta=self._policy.delta)

    def _noise(self, before: Sequence[Steps], *, rate: float, steps: int, epochs: int) -> float:
        """Return the smallest noise with which the planned steps stay within the budget, together with all before."""
        policy = self._policy

        def after(noise: float) -> float:
            return epsilon_of([*before, (noise, rate, steps)], delta=policy.delta)

        if after(LARGEST_NOISE) > policy.epsilon:
            spent = epsilon_of(before, delta=policy.delta)
            raise Refusal(
                "privacy_unmet" if not spent else "budget_spent",
                f"site {self._site!r}: privacy: epsilon {policy.epsilon:g} at delta {policy.delta:g} cannot be met in "
                f"{epochs} epochs of {rate:.1%} of the images a step: with the largest noise, {LARGEST_NOISE:g}, it "
                f"would be {after(LARGEST_NOISE):.3f}, {spent:.3f} of it spent before. Allow at least that in "
                "site.json, or fewer rounds there",
            )
        low, high = SMALLEST_NOISE, LARGEST_NOISE
        for _ in range(STEPS_OF_SEARCH):
            middle = math.sqrt(low * high)
            low, high = (low, middle) if after(middle) <= policy.epsilon else (middle, high)
        return high

    @contextmanager
    def _open(self) -> Iterator[dict[str, Any]]:
        """Read the account, one process at a time; a damaged one is never begun anew."""
        require_packages(self._site)
        if not self._writes:
            yield self._read()
            return
        with _locked(self._folder):
            yield self._read()

    def _read(self) -> dict[str, Any]:
        if exists(self._path):
            return read_sealed_json(self._path)
        return {"version": 1, "secret": secrets.token_hex(32), "experiments": {}, "phases": []}

    def _write(self, account: Mapping[str, Any]) -> None:
        """Write it twice, so that it has a copy: the generation before would know of less than was spent."""
        for _ in range(2 if self._writes else 0):
            write_sealed_json(self._path, account)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the account's lock, which others hold for a moment only. Raises InUse."""
    for tries in range(PATIENCE, -1, -1):
        try:
            lock = FolderLock(folder, name="budget.lock", way_out="try again in a moment")
            break
        except InUse:
            if not tries:
                raise
            time.sleep(0.1)
    with lock:
        yield


def epsilon_of(steps: Sequence[Steps], *, delta: float) -> float:
    """Return the epsilon of all steps together at a delta, by Opacus' accountant; 0 for none.

    Args:
        steps: (noise, sample rate, number) each.
        delta: in (0, 1).
    """
    return _epsilon(tuple(each for each in steps if each[2]), delta)


@lru_cache(maxsize=1024)
def _epsilon(steps: tuple[Steps, ...], delta: float) -> float:
    from opacus.accountants import RDPAccountant

    if not steps:
        return 0.0
    accountant = RDPAccountant()
    accountant.history = list(steps)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that an order at the end of the accountant's list is the best: a safe bound
        return float(accountant.get_epsilon(delta=delta))


def _steps(entry: Mapping[str, Any]) -> Steps:
    return float(entry["noise"]), float(entry["rate"]), int(entry["steps"])


def _history(account: Mapping[str, Any], *, only: str | None = None, without: str | None = None) -> list[Steps]:
    """Return the steps that were entered, equal ones together."""
    counts: dict[tuple[float, float], int] = {}
    for entry in account["phases"]:
        if entry["experiment"] != without and only in (None, entry["experiment"]):
            noise, rate, count = _steps(entry)
            counts[noise, rate] = counts.get((noise, rate), 0) + count
    return [(noise, rate, count) for (noise, rate), count in counts.items()]


def _key(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()


def require_packages(site: str) -> None:
    """Refuse at a site that lacks what differential privacy needs. Raises Refusal."""
    try:
        require("dp", what=f"site {site!r}: differential privacy")
    except MissingExtra as error:
        raise Refusal("privacy_extra", str(error)) from error

"""A privacy budget is met, told in figures, spent once, and lost by no interruption."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mdhfl.sharing.reasons import Refusal
from mdhfl.site.budget import ACCOUNT, Account, epsilon_of
from mdhfl.site.defences import Privacy
from mdhfl.site.settings import SiteSettings
from mdhfl.store.sealed import Damaged, previous

ASKED = {"images": 200, "batch_size": 16, "warm_up_epochs": 2, "local_epochs": 1}


def settings_of(folder: Path, **privacy: Any) -> SiteSettings:
    return SiteSettings(
        site="site-1", bundle="mobilenet_v2_group", data=folder, public=folder, state=folder / "state", device="cpu",
        threads=1, privacy=Privacy(**{"epsilon": 4.0, "delta": 1e-4, "rounds": 3, **privacy}),
    )  # fmt: skip


def spend(account: Account, experiment: str, rounds: int, **outcome: Any) -> list[int]:
    """Charge a warm-up of two epochs of 13 steps, and rounds of one; return the seeds."""
    seeds = []
    for number in range(rounds + 1):
        seeds.append(
            account.charge(
                experiment,
                phase=f"round {number}",
                steps=13 * (1 if number else 2),
                outcome={"begins at": number, **outcome},
            )
        )
    return seeds


def test_without_sampling_epsilon_is_that_of_the_gaussian_mechanism() -> None:
    """RDP of T Gaussians is T a / (2 s^2); converted as by Canonne, Kamath, Steinke, NeurIPS 2020, proposition 12."""
    noise, steps, delta = 3.0, 20, 1e-5
    orders = [1 + x / 10 for x in range(1, 100)] + list(range(12, 64))
    expected = min(
        steps * a / (2 * noise**2) + math.log((a - 1) / a) - (math.log(delta) + math.log(a)) / (a - 1) for a in orders
    )
    assert epsilon_of([(noise, 1.0, steps)], delta=delta) == pytest.approx(expected, rel=1e-9)
    assert epsilon_of([(noise, 1.0, 15), (noise, 1.0, 5)], delta=delta) == pytest.approx(expected, rel=1e-9)


def test_sampling_amplifies_more_steps_and_less_noise_cost() -> None:
    base = epsilon_of([(1.0, 0.1, 50)], delta=1e-5)
    assert 0 < base < epsilon_of([(1.0, 1.0, 50)], delta=1e-5)
    assert base < epsilon_of([(1.0, 0.1, 60)], delta=1e-5)
    assert base < epsilon_of([(0.9, 0.1, 50)], delta=1e-5)
    assert epsilon_of([], delta=1e-5) == epsilon_of([(1.0, 0.1, 0)], delta=1e-5) == 0


def test_a_plan_spends_the_budget_and_no_more(tmp_path: Path) -> None:
    account = Account(settings_of(tmp_path))
    plan = account.plan("a", **ASKED)
    assert plan.spent == 0
    assert 3.99 < plan.epsilon <= 4.0
    assert plan.rate == 1 / 13
    assert epsilon_of([(plan.noise, plan.rate, 65)], delta=1e-4) == plan.epsilon
    spend(account, "a", 3)
    assert account.spent() == plan.epsilon
    again = account.plan("a", **ASKED)
    assert (again.noise, again.spent, again.epsilon) == (plan.noise, plan.epsilon, plan.epsilon)
    with pytest.raises(
        Refusal, match=r"would bring epsilon from [34]\.\d+ to 4\.\d+, beyond the 4 of privacy"
    ) as refusal:
        account.charge("a", phase="round 4", steps=13, outcome={"begins at": 4})
    assert refusal.value.code == "budget_spent"
    assert account.spent() == plan.epsilon


def test_the_same_phase_is_charged_once_and_any_other_has_other_noise(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, rounds=20)
    account = Account(settings)
    account.plan("a", **ASKED)
    seeds = spend(account, "a", 1)
    spent = account.spent()
    assert spend(Account(settings), "a", 1) == seeds  # another process, after an interruption
    assert account.spent() == spent
    other = spend(account, "a", 1, lesson="another")
    assert len({*seeds, *other}) == 4
    assert account.spent() > spent
    account.plan("b", **ASKED)
    assert not set(spend(account, "b", 1)) & {*seeds, *other}


def test_another_site_has_other_random_numbers(tmp_path: Path) -> None:
    found = []
    for name in ("one", "two"):
        account = Account(settings_of(tmp_path / name))
        account.plan("a", **ASKED)
        found += spend(account, "a", 0)
    assert found[0] != found[1]


def test_another_experiment_has_no_budget_of_its_own(tmp_path: Path) -> None:
    account = Account(settings_of(tmp_path))
    first = account.plan("a", **ASKED)
    spend(account, "a", 3)
    with pytest.raises(Refusal, match=r"cannot be met .* [34]\.\d+ of it spent before") as refusal:
        account.plan("b", **ASKED)
    assert refusal.value.code == "budget_spent"
    raised = settings_of(tmp_path, epsilon=6.0)
    plan = Account(raised).plan("b", **ASKED)
    assert 5.99 < plan.epsilon <= 6.0
    assert plan.noise != first.noise
    spend(Account(raised), "b", 3)
    assert Account(raised).spent() == pytest.approx(plan.epsilon)
    assert Account(replace(raised, site="site-2")).spent() == Account(raised).spent()


@pytest.mark.parametrize(
    ("privacy", "said"),
    [
        ({"epsilon": 0.02}, r"epsilon 0\.02 at delta 0\.0001 cannot be met .* it would be 0\.\d\d\d, 0\.000 of it"),
        ({"delta": 0.006}, r"delta: expected below 0\.005, one over its 200 training images, got 0\.006"),
    ],
)
def test_what_cannot_be_met_is_refused_with_the_figure_that_could_be(
    tmp_path: Path, privacy: dict[str, float], said: str
) -> None:
    with pytest.raises(Refusal, match=said) as refusal:
        Account(settings_of(tmp_path, **privacy)).plan("a", **ASKED)
    assert refusal.value.code == "privacy_unmet"
    assert not (tmp_path / "state" / ACCOUNT).exists()


def test_the_figure_that_could_be_met_can_be(tmp_path: Path) -> None:
    with pytest.raises(Refusal) as refusal:
        Account(settings_of(tmp_path, epsilon=0.02)).plan("a", **ASKED)
    least = float(str(refusal.value).partition("it would be ")[2].partition(",")[0])
    assert Account(settings_of(tmp_path, epsilon=least + 0.001)).plan("a", **ASKED).epsilon <= least + 0.001


def test_looking_at_a_plan_writes_nothing(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    assert Account(settings, writes=False).plan("", **ASKED) == Account(settings).plan("a", **ASKED)


def test_a_damaged_account_has_a_copy_and_is_never_begun_anew(tmp_path: Path) -> None:
    account = Account(settings_of(tmp_path))
    account.plan("a", **ASKED)
    spend(account, "a", 2)
    spent, path = account.spent(), tmp_path / "state" / ACCOUNT
    path.write_text(path.read_text().replace('"steps": 13', '"steps": 1'))
    assert account.spent() == spent
    previous(path).write_text("{}")
    with pytest.raises(Damaged):
        account.charge("a", phase="round 3", steps=13, outcome={})
    path.unlink()
    with pytest.raises(Damaged):
        account.plan("b", **ASKED)

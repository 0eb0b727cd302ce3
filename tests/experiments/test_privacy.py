"""The table of audits in docs/privacy.md is that of the committed CSV, and its numbers follow from it."""

from statistics import mean, stdev

from experiments.privacy import ALL, FOUND, METHODS, PAGE, SEEDS, audited, page
from mdhfl.showing.sheets import read_csv


def test_the_page_shows_what_was_measured() -> None:
    stale = PAGE.read_text(encoding="utf-8") != page()
    assert not stale, "run python -m experiments.privacy"


def test_every_method_and_seed_was_audited() -> None:
    rows = read_csv(FOUND)
    assert {(row["method"], int(row["seed"])) for row in rows} == {(m, seed) for m in METHODS for seed in SEEDS}


def test_a_cell_by_hand() -> None:
    values = [float(r["model_auc"]) for r in read_csv(FOUND) if (r["method"], r["site"]) == ("fedavg", ALL)]
    line = next(line for line in audited(read_csv(FOUND)).splitlines() if "holder of the model: AUC" in line)
    assert line.endswith(f"| {mean(values):.3f} ± {stdev(values):.3f} |")

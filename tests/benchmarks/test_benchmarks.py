"""The benchmarks run, and what they say about equal mathematics and bytes holds. No test asserts a time."""

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from benchmarks import blind_sums, flare_cost, literal_round, memory, teaching, training_step
from benchmarks.__main__ import README, main, markdown, measurements


def test_a_literal_round_has_the_same_losses(tmp_path: Path) -> None:
    (row,) = literal_round.measure(tmp_path, training=16, public=16)
    assert float(row["largest loss difference"]) < 1e-4


def test_the_wire_carries_one_matrix_and_at_most_five_percent_more() -> None:
    for row in flare_cost.measure_bytes():
        assert 1 <= row["ratio"] <= 1.05, row


def test_teaching_needs_a_few_matrices_whatever_the_number_of_sites() -> None:
    for row in teaching.measure(sites=(4, 40)):
        assert row["extra matrices"] < 6


def test_a_blind_message_is_a_tenth_larger_than_a_plain_one_at_most_and_teaches_the_same(tmp_path: Path) -> None:
    (row,) = blind_sums.measure(tmp_path, sites=(4,))
    assert row["plain up MB"] <= row["up MB"] <= 1.1 * row["plain up MB"], row
    assert row["plain down MB"] <= row["down MB"] <= 1.1 * row["plain down MB"], row
    assert float(row["largest error of a teacher"]) <= 1.2e-7


def test_every_measurement_has_its_table(tmp_path: Path) -> None:
    text = README.read_text(encoding="utf-8")
    for name in measurements(tmp_path):
        assert f"<!-- {name} -->\n|" in text, f"no table {name}: run `make bench`"


def test_what_needs_a_gpu_is_left_out_where_there_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr("benchmarks.__main__.README", tmp_path / "README.md")
    (tmp_path / "README.md").write_text("")
    done = CliRunner().invoke(main, ["gpu"])
    assert done.exit_code == 0
    assert "gpu: left out; device 'cuda': PyTorch" in done.output


def test_rows_become_a_table() -> None:
    assert markdown([{"a": 1, "b": 2}]) == "| a | b |\n|---|---|\n| 1 | 2 |"
    rows = training_step.measure(images=16, repetitions=1)
    assert [row["architecture"] for row in rows] == list(training_step.ARCHITECTURES)
    assert callable(memory.measure)

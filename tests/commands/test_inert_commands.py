"""Every command shows what others chose, and none obeys it; `mdhfl run` goes on when a site refuses with it."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes.damage import edit_json, edit_sealed
from fakes.hostile import WORST, hidden_in
from fakes.run_folders import SITES, write_run
from fakes.run_folders import write_federation as write_cards
from fakes.small_federation import write_federation
from PIL import Image

from mdhfl.commands import cli
from mdhfl.flare.policy import LAUNCHERS
from mdhfl.server.journal import read_rows
from mdhfl.sharing.messages import Answer, Request
from mdhfl.site.border import Border
from mdhfl.store.sealed import read_sealed_json

NAME = "[x]\x1b[2J\u202e\udcff=1"  # of a file: without slashes, newlines and zeros
Arguments = list[object]


def mdhfl(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Run the command in this process and return its exit code."""
    monkeypatch.setattr(sys, "argv", ["mdhfl", *map(str, arguments)])
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    try:
        cli.main()
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def prepare(folder: Path) -> Arguments:
    for i in range(24):
        path = folder / "raw" / f"{i % 3}{NAME}" / f"{i}{NAME}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16), (i, 9 * i, 90)).save(path, format="PNG")
    path.with_name(f"bad{NAME}.png").write_bytes(b"no picture")
    return ["prepare", "folder", "--raw", folder / "raw", "--sites", 1, "--public-count", 4, "--minimum", 3,
            "--image-size", 16, "--out", folder / f"fed{NAME}", "--name", WORST, "--workers", 1]  # fmt: skip


def check(folder: Path) -> Arguments:
    federation = write_federation(folder / f"fed{NAME}")
    datalist = federation / "public" / "datalist.json"
    (federation / "sites" / "site-2" / "card.json").write_text(json.dumps({WORST: 1}))
    edit_json(
        datalist, public=[{"image": f"images/{WORST}", "digest": "0" * 16}, *json.loads(datalist.read_text())["public"]]
    )
    return ["check", federation]


def report(folder: Path) -> Arguments:
    federation = write_cards(folder / "fed", sites=SITES[:2])
    run = write_run(folder / NAME, federation=federation, sites=(WORST, "b"), rounds=0, refused={(0, WORST): WORST})
    return ["report", run, "--out", folder / f"out{NAME}"]


def compare(folder: Path) -> Arguments:
    asked = {
        "question": "[a](javascript:1) \x1b[2J", "rounds": 1, "seeds": [0],
        "prepare": {"source": "synthetic", "raw": NAME},
        "federations": {"[/x]\x1b[2J": {"split": "nothing"}}, "methods": {"[/x]\x1b": {"recipe": "local"}},
    }  # fmt: skip
    (folder / "a.yaml").write_text(json.dumps(asked))
    return ["compare", folder / "a.yaml", "--table-only", "--out", folder / f"out{NAME}", "--work", folder / "work"]


def export(folder: Path) -> Arguments:
    federation = write_federation(folder / "fed")
    run = write_run(folder / "a", federation=federation, sites=SITES[:2], rounds=1)
    summary = read_sealed_json(run / "summary.json")
    summary["sites"]["site-1"]["refused"] = [{"round": 0, "reason": WORST}]
    edit_sealed(run / "summary.json", **summary)
    edit_sealed(run / "experiment.json", min_sites=2, public_digest="a" * 64, public_count=9,
                federation_digest="b" * 64, training_images=dict.fromkeys(SITES[:2], 9))  # fmt: skip
    return ["export-bundle", run, "--site", "site-1", "--out", folder / f"out{NAME}"]


def site_kit(folder: Path) -> Arguments:
    kit = folder / f"kit{NAME}"
    (kit / "local").mkdir(parents=True)
    (kit / "local" / "resources.json.default").write_text(json.dumps({"components": [{"path": next(iter(LAUNCHERS))}]}))
    return ["site-kit", "--out", kit, "--site", NAME, "--data", "d", "--public", "p", "--state", "s", "--bundle", NAME]


def server_kit(folder: Path) -> Arguments:
    return ["server-kit", *site_kit(folder)[1:3]]


def run(folder: Path) -> Arguments:
    return ["run", f"mdhfl{NAME}", "--federation", folder / NAME, "--out", folder / "a"]


def methods(folder: Path) -> Arguments:
    return ["methods", f"x.y:{NAME}"]


def consortium(folder: Path) -> Arguments:
    return ["consortium", "init", "--sites", NAME, "--out", folder / "c"]


def new_bundle(folder: Path) -> Arguments:
    return ["new-bundle", NAME, "--out", folder / "b"]


def wrong_option(folder: Path) -> Arguments:
    return ["run", "mdhfl", "--federation", folder, "--out", folder / "a", "--rounds", f"{NAME}\n\x1b"]


def debug(folder: Path) -> Arguments:
    return ["check", folder / NAME]


COMMANDS = {
    prepare: 0, check: 2, report: 0, compare: 2, export: 2, site_kit: 2, server_kit: 0, run: 2, methods: 2,
    consortium: 2, new_bundle: 2, wrong_option: 2, debug: 2,
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "code"), COMMANDS.items())
def test_a_command_shows_texts_and_obeys_none(
    arguments: Callable[[Path], Arguments],
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Whether it succeeds or refuses: what it says names the text, by characters that can be seen."""
    assert mdhfl(monkeypatch, *arguments(tmp_path)) == code
    shown = capfd.readouterr()
    text = shown.out + shown.err
    assert "Traceback" not in text
    assert not hidden_in(text), text
    assert "\\x1b" in text


def test_a_traceback_shows_texts_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["mdhfl", "--debug", "check", NAME])
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    try:
        cli.main()
    except ValueError as error:
        sys.excepthook(type(error), error, error.__traceback__)
    shown = capsys.readouterr().err
    assert "Traceback" in shown
    assert "\\x1b[2J\\u202e\\udcff" in shown
    assert not hidden_in(shown)


@pytest.mark.parametrize("refusal", ["[/x]\x1b[2J", WORST], ids=["markup", "worst"])
def test_a_run_goes_on_when_a_site_refuses_with_anything(
    refusal: str, three_sites: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing but one of a list of sentences leaves a site of ours; this one has no border."""
    let_out = Border.let_out

    def refuse(border: Border, wire: Any, request: Request) -> Answer:
        given = let_out(border, wire, request)
        return given if given.site != "site-2" else replace(Answer(site="site-2", round=request.round), refusal=refusal)

    monkeypatch.setattr(Border, "let_out", refuse)
    arguments = ["run", "mdhfl", "--federation", three_sites, "--engine", "inprocess", "--rounds", 1, "--threads", 1,
                 "--bundles", "shufflenet_v2", "--set", "local_epochs=0", "--out", tmp_path / "a"]  # fmt: skip
    assert mdhfl(monkeypatch, *arguments) == 0
    assert mdhfl(monkeypatch, "report", tmp_path / "a", "--out", tmp_path / "report") == 0
    shown = capsys.readouterr()
    assert "[/x]\\x1b[2J" in shown.err.replace("\n", "")
    assert not hidden_in(shown.out + shown.err)
    rows = read_rows(tmp_path / "a" / "results.jsonl")
    assert {row["reason"] for row in rows if row["site"] == "site-2"} == {refusal}  # the record says what came

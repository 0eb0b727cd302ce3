"""`mdhfl supervise` through the command itself: a user's mistakes are one line. With real servers: tests/flare."""

import json
import sys
from pathlib import Path

import pytest

from mdhfl.commands import cli
from mdhfl.flare import admin


def mdhfl(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["mdhfl", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


def test_what_is_no_administrators_kit_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert mdhfl(monkeypatch, "supervise", tmp_path, "--kit", tmp_path) == 2
    assert "fed_admin.json: expected an administrator's startup kit" in capsys.readouterr().err


@pytest.mark.parametrize(("said", "user"), [("", "admin@nvidia.com"), ("lead@b.org", "lead@b.org")])
def test_the_kit_says_who_submits(
    said: str, user: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A job that the server refuses is not submitted again."""
    kit = tmp_path / "admin@nvidia.com"
    (kit / "startup").mkdir(parents=True)
    (kit / "startup" / "fed_admin.json").write_text(json.dumps({"admin": {"username": said}}))
    users = []

    class Session:
        def submit_job(self, job: str, *, submit_token: str) -> str:
            raise admin.AuthorizationError("user not authorized")

        def close(self) -> None:
            users.append("closed")

    def connect(username: str, place: str, *, timeout: float) -> Session:
        assert Path(place) == kit
        users.append(username)
        return Session()

    monkeypatch.setattr(admin, "new_secure_session", connect)
    assert mdhfl(monkeypatch, "supervise", tmp_path, "--kit", kit) == 2
    assert users == [user, "closed"]
    assert "Error: the server refuses it: user not authorized" in capsys.readouterr().err

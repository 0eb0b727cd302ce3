"""The page on a port: who may ask, for what, and what comes with the answer."""

import http.client
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from fakes.run_folders import write_federation, write_run

from mdhfl.commands.status import status_command
from mdhfl.status import serving
from mdhfl.status.page import render
from mdhfl.status.places import read_all
from mdhfl.status.serving import StatusServer, address_of


class Served:
    """A page that is being served, and how often it was made."""

    def __init__(self, address: str = "127.0.0.1:0", *, remote: bool = False, error: Exception | None = None) -> None:
        self.made, self.error = 0, error
        self.server = StatusServer(address_of(address, remote=remote), page=self._page)
        self.port = int(self.server.server_address[1])
        self._thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def _page(self) -> str:
        self.made += 1
        if self.error is not None:
            raise self.error
        return f"<!DOCTYPE html><p>page {self.made}"

    def ask(self, method: str = "GET", path: str = "/", **headers: str) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.putrequest(method, path, skip_host=True)
        for name, value in {"Host": f"127.0.0.1:{self.port}", **headers}.items():
            connection.putheader(name, value)
        connection.endheaders()
        return connection.getresponse()

    def close(self) -> None:
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()


@pytest.fixture
def served() -> Iterator[Served]:
    one = Served()
    try:
        yield one
    finally:
        one.close()


def test_the_page_and_its_files_come_with_what_protects_them(served: Served) -> None:
    kinds = {"/": "text/html", "/status.css": "text/css", "/status.js": "text/javascript", "/?x=1": "text/html"}
    for path, kind in kinds.items():
        answer = served.ask(path=path)
        assert answer.status == 200
        assert answer.getheader("Content-Type") == f"{kind}; charset=utf-8"
        assert len(answer.read()) == int(answer.getheader("Content-Length") or 0) > 0
        policy = answer.getheader("Content-Security-Policy") or ""
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.getheader("X-Content-Type-Options") == "nosniff"
        assert answer.getheader("Cache-Control") == "no-store"
        assert answer.getheader("Access-Control-Allow-Origin") is None
        assert "Python" not in (answer.getheader("Server") or "")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE", "CONNECT", "MKCOL"])
def test_nothing_but_get_is_answered(served: Served, method: str) -> None:
    answer = served.ask(method)
    assert answer.status == 405
    assert answer.getheader("Allow") == "GET"
    assert b"page" not in answer.read()
    assert served.made == 0


@pytest.mark.parametrize(
    "path", ["/../serving.py", "/status.html.j2", "/%2e%2e/page.py", "//etc/passwd", "/status.css/..", "/favicon.ico"]
)
def test_nothing_else_is_there(served: Served, path: str) -> None:
    assert served.ask(path=path).status == 404


def test_a_name_that_was_made_to_lead_here_is_refused(served: Served) -> None:
    for host in ("evil.example", f"evil.example:{served.port}", "127.0.0.1", f"127.0.0.1:{served.port}.evil", "", "*"):
        answer = served.ask(Host=host)
        assert answer.status == 421, host
        assert b"page" not in answer.read()
    assert served.ask(Host=f"LOCALHOST:{served.port}").status == 200
    assert served.made == 1


@pytest.mark.parametrize(
    "request_",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nHost: evil.example\r\n\r\n",
        b"GET /\r\n\r\n",
        b"<script>alert(1)</script>\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: 127.0.0.1:PORT\r\n\r\n",
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n",
    ],
)
def test_what_is_no_request_of_a_browser_is_refused_without_being_repeated(served: Served, request_: bytes) -> None:
    with socket.create_connection(("127.0.0.1", served.port), timeout=10) as connection:
        connection.sendall(request_.replace(b"PORT", str(served.port).encode()))
        answer = connection.recv(100_000)
    assert b"200 OK" not in answer
    assert b"<p>page" not in answer
    assert b"script>" not in answer
    assert served.made == 0


def test_who_asks_often_gets_the_page_of_this_second(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    assert {served.ask().read() for _ in range(20)} == {b"<!DOCTYPE html><p>page 1"}
    monkeypatch.setattr(serving, "FRESH", 0.0)
    assert served.ask().read() == b"<!DOCTYPE html><p>page 2"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError("/home/me/kit/local/site.json: not valid JSON\n(line 1)"), "site.json: not valid JSON\\n(line 1)"),
        (PermissionError(13, "Permission denied", "/home/me/kit/x"), "[Errno 13] Permission denied: 'x'"),
        (ValueError("\ud800<script>"), "\\ud800<script>"),
        (OSError(), "OSError"),
    ],
)
def test_what_cannot_be_read_is_one_line_until_it_can(
    error: Exception, told: str, served: Served, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    served.error = error
    answers = [served.ask() for _ in range(5)]
    assert {answer.status for answer in answers} == {503}
    assert {answer.read().decode() for answer in answers} == {f"the page cannot be made: {told}\n"}
    assert answers[0].getheader("Content-Type") == "text/plain; charset=utf-8"
    assert answers[0].getheader("X-Content-Type-Options") == "nosniff"
    assert served.made == 1
    monkeypatch.setattr(serving, "FRESH", 0.0)
    assert served.ask().status == 503
    assert served.made == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == said.err.count("the page cannot be made: ") == 1
    served.error = None
    assert served.ask().read() == b"<!DOCTYPE html><p>page 3"
    served.error = error
    assert served.ask().status == 503
    assert capsys.readouterr().err.count("\n") == 1  # it is news again


def test_a_site_s_settings_that_are_being_edited_end_nothing(tmp_path: Path) -> None:
    (tmp_path / "local").mkdir()
    (tmp_path / "local" / "site.json").write_text('{"version": 1,')
    with StatusServer(("127.0.0.1", 0), page=lambda: render(read_all(tmp_path), place="kit")) as server:
        status, content = server.page()
    assert status == 503
    assert content.startswith(b"the page cannot be made: site.json: not valid JSON (")
    assert content.count(b"\n") == 1


def test_who_says_nothing_keeps_nobody_waiting(served: Served) -> None:
    with socket.create_connection(("127.0.0.1", served.port)), socket.create_connection(("127.0.0.1", served.port)):
        assert served.ask().status == 200


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0.0.0.0:80", "which is all of them"),
        ("[::]:80", "which is all of them"),
        ("10.0.0.1:80", "is reached from other machines"),
        ("[fe80::1]:80", "is reached from other machines"),
        ("localhost:80", "expected an address and a port like"),
        ("8080", "expected an address and a port like"),
        ("127.0.0.1", "expected an address and a port like"),
        ("127.0.0.1:99999", "expected a port from 0 to 65535"),
        ("", "expected an address and a port like"),
    ],
)
def test_an_address_that_others_reach_is_refused_unless_it_is_asked_for(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=said):
        CliRunner().invoke(status_command, [str(tmp_path), "--serve", text], catch_exceptions=False)


def test_an_address_that_is_asked_for_is_taken() -> None:
    assert address_of("10.0.0.1:80", remote=True) == ("10.0.0.1", 80)
    assert address_of("[fe80::1]:80", remote=True) == ("fe80::1", 80)
    with pytest.raises(ValueError, match="which is all of them"):
        address_of("0.0.0.0:80", remote=True)


def test_it_listens_at_the_address_that_was_said() -> None:
    for text, other in (("127.0.0.1:0", "127.0.0.2"), ("127.0.0.2:0", "127.0.0.1")):
        server = StatusServer(address_of(text, remote=False), page=str)
        with server, pytest.raises(OSError, match="refused"):
            socket.create_connection((other, server.server_address[1]), timeout=5)


def test_a_taken_port_is_one_line(served: Served) -> None:
    with pytest.raises(OSError, match="in use"):
        StatusServer(("127.0.0.1", served.port), page=str)


def test_an_empty_folder_is_a_page_too(tmp_path: Path) -> None:
    assert "No experiment here yet." in render(read_all(tmp_path), place="kit")
    write_run(tmp_path / "a", federation=write_federation(tmp_path / "fed"))
    page = render(read_all(tmp_path), place="kit")
    assert "Finished after round 3." in page
    assert "http://" not in page.replace("http-equiv", "")
    assert "https://" not in page

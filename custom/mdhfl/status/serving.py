"""The page of a status on a port: read only, for this machine unless its owner says otherwise, nothing from elsewhere.

Who may ask is decided by where the server listens and by the name that a browser asked for: a page of somebody else
whose name was made to lead here (DNS rebinding) is told nothing.
"""

import ipaddress
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import AF_INET, AF_INET6

from mdhfl.showing.terminal import say
from mdhfl.showing.texts import one_line, without_places
from mdhfl.status.page import TEMPLATES

FRESH = 1.0  # seconds for which a page is given out again
PATIENCE = 10.0  # seconds for a request to arrive
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
FILES = {"/status.css": "text/css", "/status.js": "text/javascript"}


def address_of(text: str, *, remote: bool) -> tuple[str, int]:
    """Return host and port of "127.0.0.1:8080" or "[::1]:8080".

    Args:
        text: an address of this machine and a port; port 0 takes a free one.
        remote: whether it may be an address that other machines reach.

    Raises:
        ValueError: it is no such address, or not one of this machine alone though `remote` is false.
    """
    host, _, port = text.rpartition(":")
    try:
        address = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
        number = int(port)
    except ValueError as error:
        raise ValueError(f"--serve: expected an address and a port like 127.0.0.1:8080, got {text!r}") from error
    if not 0 <= number <= 65535:
        raise ValueError(f"--serve: expected a port from 0 to 65535, got {number}")
    if address.is_unspecified:
        raise ValueError(f"--serve: expected one address of this machine, got {host}, which is all of them")
    if not address.is_loopback and not remote:
        raise ValueError(
            f"--serve: {host} is reached from other machines, and the page asks nobody who they are; use "
            "127.0.0.1 with a tunnel (ssh -L), or say --remote"
        )
    return str(address), number


class StatusServer(ThreadingHTTPServer):
    """Serves one page. `serve_forever` runs it, `shutdown` ends it."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], *, page: Callable[[], str]) -> None:
        """Listen.

        Args:
            address: see `address_of`.
            page: returns the page's HTML; called at most once a second. What it raises, a ValueError or OSError, is
                told instead, and said in the terminal when it changes.

        Raises:
            OSError: the port is taken.
        """
        self.address_family = AF_INET6 if ":" in address[0] else AF_INET
        self._page, self._lock = page, threading.Lock()
        self._made, self._fault = 0.0, ""
        self._answer: tuple[HTTPStatus, bytes] | None = None
        super().__init__(address, _Handler)

    @property
    def host(self) -> str:
        """Address and port as a browser writes them."""
        name, port = self.server_address[:2]
        return f"[{name!s}]:{port}" if self.address_family == AF_INET6 else f"{name!s}:{port}"

    @property
    def hosts(self) -> set[str]:
        """The names under which a browser may ask."""
        address, port = self.server_address[:2]
        local = {f"localhost:{port}"} if ipaddress.ip_address(str(address)).is_loopback else set()
        return {self.host, *local}

    def page(self) -> tuple[HTTPStatus, bytes]:
        """Return the page, made anew if it is older than a second; or, in one line, why there is none just now."""
        with self._lock:
            if self._answer is None or time.monotonic() - self._made > FRESH:
                self._answer, self._made = self._make(), time.monotonic()
            return self._answer

    def _make(self) -> tuple[HTTPStatus, bytes]:
        try:
            text, fault = self._page().encode(), ""
        except (ValueError, OSError) as error:
            fault = f"the page cannot be made: {str(error) or type(error).__name__}"
            text = f"{one_line(without_places(fault))}\n".encode()
        if fault and fault != self._fault:
            say(fault, error=True)
        self._fault = fault
        return HTTPStatus.SERVICE_UNAVAILABLE if fault else HTTPStatus.OK, text


class _Handler(BaseHTTPRequestHandler):
    server: StatusServer
    timeout = PATIENCE
    server_version, sys_version = "mdhfl", ""

    def do_GET(self) -> None:
        """Give out the page or one of its two files."""
        if not self._is_for_us():
            return
        path = self.path.partition("?")[0]
        if path == "/":
            status, content = self.server.page()
            self._send(status, content, kind="text/html" if status == HTTPStatus.OK else "text/plain")
        elif path in FILES:
            self._send(HTTPStatus.OK, (TEMPLATES / path[1:]).read_bytes(), kind=FILES[path])
        else:
            self._send(HTTPStatus.NOT_FOUND, b"there is one page here: /\n")

    def _is_for_us(self) -> bool:
        """Refuse whoever asked for another name than ours, or from a page of another."""
        names = self.headers.get_all("Host") or []
        if len(names) != 1 or names[0].lower() not in self.server.hosts:
            self._send(HTTPStatus.MISDIRECTED_REQUEST, b"this server has another name\n")
            return False
        return True

    def _send(self, status: HTTPStatus, content: bytes, *, kind: str = "text/plain") -> None:
        self.send_response(status)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        if status == HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET")
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuse every method but GET, and what is no request, without repeating any of it."""
        other = code == HTTPStatus.NOT_IMPLEMENTED
        status = HTTPStatus.METHOD_NOT_ALLOWED if other else HTTPStatus(code)
        self._send(status, f"{status.phrase}\n".encode())

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: whoever watches asks every two seconds."""

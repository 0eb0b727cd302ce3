"""A FLARE server as its administrator reaches it, with the startup kit that he was given."""

import contextlib
import io
import json
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from nvflare.fuel.flare_api.api_spec import (
    AuthorizationError,
    InvalidJobDefinition,
    JobNotFound,
    SubmitTokenConflict,
    SubmitTokenJobDeleted,
)
from nvflare.fuel.flare_api.flare_api import Session, new_secure_session

from mdhfl.flare.supervise import LOST, NotReached, Refused
from mdhfl.runs.signals import held_back

CONNECT_TIMEOUT = 10.0  # seconds
REFUSALS = (AuthorizationError, InvalidJobDefinition, SubmitTokenConflict, SubmitTokenJobDeleted)


class FlareServer:
    """Keeps one session, and opens another when that is lost. Close it at the end."""

    def __init__(self, kit: Path) -> None:
        """Take the administrator's kit, without connecting.

        Args:
            kit: the folder that contains `startup/fed_admin.json`.

        Raises:
            ValueError: it is no administrator's kit.
        """
        path = kit / "startup" / "fed_admin.json"
        try:
            admin = json.loads(path.read_text(encoding="utf-8"))["admin"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path}: expected an administrator's startup kit ({error}); give the folder that contains `startup`"
            ) from error
        self._kit = kit.resolve()
        self._user = admin.get("username") or self._kit.name  # in POC mode the folder says who
        self._session: Session | None = None

    def submit(self, job: Path, *, token: str) -> str:
        """Submit a job folder; return the job's id, the same for the same token. Raises NotReached, Refused."""
        return self._call(lambda session: str(session.submit_job(str(job.resolve()), submit_token=token)))

    def missing(self, sites: Collection[str]) -> str:
        """Return which of these sites are not connected; nothing if that is not ours to know. Raises NotReached."""

        def look(session: Any) -> str:
            connected = {client.name for client in session.get_system_info().client_info}
            return ", ".join(sorted(set(sites) - connected))

        try:
            return self._call(look) if sites else ""
        except Refused:
            return ""

    def status(self, job_id: str) -> str:
        """Return a job's status; LOST if the server does not know it. Raises NotReached."""
        try:
            return self._call(lambda session: str(session.get_job_meta(job_id)["status"]))
        except JobNotFound:
            return LOST

    def log(self, job_id: str) -> str:
        """Return what the job has logged at the server; nothing if it is not ours to see. Raises NotReached."""
        try:
            return self._call(lambda session: str(session.get_job_logs(job_id)["logs"].get("server", "")))
        except (Refused, JobNotFound):
            return ""

    def download(self, job_id: str, *, to: Path) -> Path:
        """Bring what a job has left into a folder; return the job's folder in it. Raises NotReached, Refused."""
        return Path(self._call(lambda session: str(session.download_job_result(job_id, str(to))), long=True))

    def close(self) -> None:
        """Log out, if that is possible."""
        session, self._session = self._session, None
        if session is not None:
            with contextlib.suppress(Exception), held_back():
                session.close()

    def _call(self, ask: Callable[[Any], str], *, long: bool = False) -> str:
        """Ask the server.

        Ctrl-C is held back until it has answered, but for what takes long: a session that is left while it connects has
        threads that never end, and FLARE takes some of what interrupts it for a lost connection.
        """
        try:
            with held_back():
                session = self._session = self._session or self._connect()
            with contextlib.nullcontext() if long else held_back():
                return ask(session)
        except REFUSALS as error:
            raise Refused(f"the server refuses it: {error}") from error
        except JobNotFound:
            raise
        except Exception as error:  # FLARE has a dozen kinds for a connection that is lost, RuntimeError among them
            self.close()
            raise NotReached(f"{type(error).__name__}: {error}") from error

    def _connect(self) -> Session:
        with contextlib.redirect_stdout(io.StringIO()):  # FLARE prints that it connects
            return new_secure_session(self._user, str(self._kit), timeout=CONNECT_TIMEOUT)

"""`server.json`: what a server needs that trains (FedDF's), or that runs a method from elsewhere; no other needs it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mdhfl.files import read_checked


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """What the operator of the server decides.

    Attributes:
        public: the folder of the public set; None for a server that trains nothing.
        validation: the folder of the labelled validation part; None likewise.
        bundles: built-in bundles by name, others by path: the architectures that the server can build. A bundle's
            configuration is code: use only those that you trust.
        device: "cpu", "cuda" or "cuda:<n>".
        threads: CPU threads, at least 1.
        methods: modules of methods from elsewhere that a job may name as "module:Class". Their code runs here.
    """

    public: Path | None = None
    validation: Path | None = None
    bundles: tuple[str, ...] = ()
    device: str = "cpu"
    threads: int = 1
    methods: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain values as in server.json."""
        training = {
            "public": str(self.public),
            "validation": str(self.validation),
            "bundles": list(self.bundles),
            "device": self.device,
            "threads": self.threads,
        }
        return {
            "version": 1,
            **({} if self.public is None else training),
            **({"methods": list(self.methods)} if self.methods else {}),
        }


def read_server_settings(path: Path) -> ServerSettings:
    """Read and check a server.json; relative paths are relative to its folder.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not JSON, or does not follow `meta/schemas/server.schema.json`.
    """
    values = read_checked(
        path, schema="server", missing=f"no server settings at {path}: write them as described in docs/operator.md"
    )
    methods = tuple(values.get("methods", []))
    if "public" not in values:
        return ServerSettings(methods=methods)
    return ServerSettings(
        public=(path.parent / values["public"]).resolve(),
        validation=(path.parent / values["validation"]).resolve(),
        bundles=tuple(b if "/" not in b else str((path.parent / b).resolve()) for b in values["bundles"]),
        device=values["device"],
        threads=values["threads"],
        methods=methods,
    )

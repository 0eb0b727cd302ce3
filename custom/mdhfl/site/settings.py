"""`site.json`: a site's own truth. In production it lives at the site, and no job ever names an architecture."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mdhfl.files import read_checked


@dataclass(frozen=True, kw_only=True)
class SiteSettings:
    """What a site's IT decides.

    Attributes:
        site: the site's name in the federation.
        bundle: a built-in bundle's name, or the path of the site's own. A bundle's configuration is code: use only
            one that you trust.
        data: the site's folder with datalist.json, card.json and images.
        public: the folder of the public set.
        state: where the site keeps its model and progress, one folder per experiment.
        device: "cpu", "cuda" or "cuda:<n>".
        threads: CPU threads of the site's process, at least 1.
        may_share: what may leave the site beside its scores: "knowledge", "encrypted_weights", "weights". A method that
            shares anything else is refused.
        withhold: what the site does not say though its method asks for it: "competences".
        weights: a state_dict that the network starts from, of the site's own bundle; None for random weights.
        methods: modules of methods from elsewhere that a job may name as "module:Class". Their code runs at the site.
    """

    site: str
    bundle: str
    data: Path
    public: Path
    state: Path
    device: str
    threads: int
    may_share: tuple[str, ...] = ("knowledge",)
    methods: tuple[str, ...] = ()
    withhold: tuple[str, ...] = ()
    weights: Path | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain values as in site.json."""
        paths = {name: str(getattr(self, name)) for name in ("data", "public", "state")}
        return {
            "version": 1,
            "site": self.site,
            "bundle": self.bundle,
            **paths,
            "device": self.device,
            "threads": self.threads,
            "may_share": list(self.may_share),
            **({"weights": str(self.weights)} if self.weights else {}),
            **({"methods": list(self.methods)} if self.methods else {}),
            **({"withhold": list(self.withhold)} if self.withhold else {}),
        }


def read_site_settings(path: Path) -> SiteSettings:
    """Read and check a site.json; relative paths are relative to its folder.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not JSON, or does not follow `meta/schemas/site.schema.json`.
    """
    values = read_checked(
        path, schema="site", missing=f"no site settings at {path}: write them as described in docs/site.md"
    )

    def resolved(name: str) -> Path:
        return (path.parent / str(values[name])).resolve()

    bundle = str(values["bundle"])
    if "/" in bundle or bundle.startswith("."):
        bundle = str((path.parent / bundle).resolve())
    return SiteSettings(
        site=values["site"],
        bundle=bundle,
        data=resolved("data"),
        public=resolved("public"),
        state=resolved("state"),
        device=values["device"],
        threads=values["threads"],
        may_share=tuple(values.get("may_share", ["knowledge"])),
        methods=tuple(values.get("methods", [])),
        withhold=tuple(values.get("withhold", [])),
        weights=resolved("weights") if "weights" in values else None,
    )

"""`site.json`: a site's own truth. In production it lives at the site, and no job ever names an architecture."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mdhfl.files import read_checked
from mdhfl.learning.bundle_changes import check_changes
from mdhfl.site.defences import Defences, Privacy, defences_from, privacy_from

SCORES = ("off", "aggregated", "full")  # how much of its scores a site tells
OPTIONAL = ("scores", "minimum_images", "minimum_classes", "smallest_count", "minimum_sites")
FROM_SERVER = "server"  # in place of a folder of the public set


@dataclass(frozen=True, kw_only=True)
class SiteSettings:
    """What a site's IT decides.

    Attributes:
        site: the site's name in the federation.
        bundle: a built-in bundle's name, or the path of the site's own. A bundle's configuration is code: use only
            one that you trust.
        data: the site's folder with datalist.json, card.json and images.
        public: the folder of the public set; None: the server sends it at the start of a job.
        accept_public: digests of the offers of a server whose public set the site takes; no other is fetched.
        largest_public: bytes that all public sets from servers may take on disk.
        state: where the site keeps its model and progress, one folder per experiment.
        device: "cpu", "cuda" or "cuda:<n>".
        threads: CPU threads of the site's process, at least 1.
        may_share: what may leave the site beside its scores: "knowledge", "blind_knowledge" (masked, with keys and
            shares for the other sites), "encrypted_weights", "weights". A method that shares anything else is refused.
        withhold: what the site does not say though its method asks for it: "competences".
        scores: what leaves of the scores on its test and validation part, and of its losses: "off" for nothing, not
            even seconds, "aggregated" for means of three decimals, "full" for confusion matrices, whose rows add up to
            the numbers of test images by class.
        minimum_images: training images, at least 2, below which the site shares nothing.
        minimum_classes: classes with `smallest_count` training images, at least 1, below which it shares nothing.
        smallest_count: the smallest number of images that it tells; a class with fewer is told like one without any.
        minimum_sites: in a blind sum, at least 2, below which the site shares nothing: of a sum of two each computes
            the other's part.
        partners: site -> its signing key, 64 hexadecimal digits: the site takes part in blind sums with no other.
            Empty: with any, whose keys are trusted when they are first seen.
        weights: a state_dict that the network starts from, of the site's own bundle; None for random weights.
        methods: modules of methods from elsewhere that a job may name as "module:Class". Their code runs at the site.
        bundle_changes: learning rate, batch size, optimiser or augmentation instead of the bundle's own, see
            `learning/bundle_changes.py`.
        defences: what its knowledge says less precisely, of fewer images or in fewer rounds.
        privacy: the budget of differential privacy of its training; None for none.
    """

    site: str
    bundle: str
    data: Path
    public: Path | None
    state: Path
    device: str
    threads: int
    accept_public: tuple[str, ...] = ()
    largest_public: int = 10**9
    may_share: tuple[str, ...] = ("knowledge",)
    methods: tuple[str, ...] = ()
    withhold: tuple[str, ...] = ()
    scores: str = "aggregated"
    minimum_images: int = 20
    minimum_classes: int = 2
    smallest_count: int = 5
    minimum_sites: int = 3
    partners: Mapping[str, str] = field(default_factory=dict)
    weights: Path | None = None
    bundle_changes: Mapping[str, Any] = field(default_factory=dict)
    defences: Defences = field(default_factory=Defences)
    privacy: Privacy | None = None

    @property
    def withheld(self) -> tuple[str, ...]:
        """What the site does not say: what it withholds, and, with `privacy`, all that labels tell without noise."""
        return self.withhold if self.privacy is None else (*dict.fromkeys((*self.withhold, "competences")),)

    @property
    def policy(self) -> list[str]:
        """The defences and the privacy budget, a phrase each, as logs, lists and pages tell them; empty for none."""
        said = self.defences.in_words()
        return said if self.privacy is None else [*said, self.privacy.in_words()]

    def to_json(self) -> dict[str, Any]:
        """Return plain values as in site.json."""
        paths = {name: str(getattr(self, name) or FROM_SERVER) for name in ("data", "public", "state")}
        hosted = {"accept_public": list(self.accept_public), "largest_public": self.largest_public}
        return {
            "version": 1,
            "site": self.site,
            "bundle": self.bundle,
            **paths,
            "device": self.device,
            "threads": self.threads,
            **(hosted if self.public is None else {}),
            "may_share": list(self.may_share),
            **{name: getattr(self, name) for name in OPTIONAL},
            **({"weights": str(self.weights)} if self.weights else {}),
            **({"methods": list(self.methods)} if self.methods else {}),
            **({"withhold": list(self.withhold)} if self.withhold else {}),
            **({"partners": dict(self.partners)} if self.partners else {}),
            **({"bundle_changes": dict(self.bundle_changes)} if self.bundle_changes else {}),
            **({"defences": self.defences.chosen} if self.defences.chosen else {}),
            **({"privacy": asdict(self.privacy)} if self.privacy else {}),
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
    try:
        check_changes(values.get("bundle_changes", {}))
        defences, privacy = defences_from(values.get("defences", {})), privacy_from(values.get("privacy"))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    settings = SiteSettings(
        site=values["site"],
        bundle=bundle,
        data=resolved("data"),
        public=None if values["public"] == FROM_SERVER else resolved("public"),
        state=resolved("state"),
        device=values["device"],
        threads=values["threads"],
        accept_public=tuple(values.get("accept_public", [])),
        largest_public=values.get("largest_public", SiteSettings.largest_public),
        may_share=tuple(values.get("may_share", ["knowledge"])),
        methods=tuple(values.get("methods", [])),
        withhold=tuple(values.get("withhold", [])),
        partners=values.get("partners", {}),
        weights=resolved("weights") if "weights" in values else None,
        bundle_changes=values.get("bundle_changes", {}),
        defences=defences,
        privacy=privacy,
        **{name: values[name] for name in OPTIONAL if name in values},
    )
    if settings.minimum_images < settings.smallest_count:
        raise ValueError(
            f"{path}: minimum_images: expected at least smallest_count ({settings.smallest_count}), since the number "
            f"of training images is told, got {settings.minimum_images}"
        )
    return settings

"""Where the images of an audit lie, and which bundle reads them: what site.json says, or an option."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mdhfl.hosting.kept import set_folder
from mdhfl.learning.bundle import built_in_bundles
from mdhfl.runs.folder import site_settings_path
from mdhfl.site.history import Part
from mdhfl.site.settings import SiteSettings, read_site_settings

STAND_IN = "resnet10"  # for shadow models where a site's own bundle is not at hand


def settings_at_server(
    home: Path, site: str, *, rows: Sequence[Mapping[str, Any]], record: Mapping[str, Any], federation: Path | None
) -> SiteSettings:
    """Return a site's settings from a run's folder; for a server's, such as read its images in the federation's folder.

    Args:
        home: the folder.
        site: the site.
        rows: of its rounds, which name its bundle.
        record: the content of experiment.json.
        federation: the folder that the caller named, if any.

    Raises:
        ValueError: the images are nowhere.
    """
    path = site_settings_path(home, site)
    if path.is_file():
        settings = read_site_settings(path)
        data, public = _places(federation, site)
        return replace(settings, data=data or settings.data, public=public or settings.public)
    known = str((rows[-1].get("about") or {}).get("bundle", "")) if rows else ""
    federation = federation or _existing(Path(str(record.get("federation", ""))))
    if federation is None:
        raise ValueError(
            f"{home}: expected a run's folder, which says where the private images lie; this one is a server's: name "
            "the federation's folder with --federation"
        )
    data, public = _places(federation, site)
    if data is None or public is None or not data.is_dir():
        raise ValueError(f"--federation: {federation} has no sites/{site}; expected the folder of this experiment")
    return _plain_settings(site, bundle=known if known in built_in_bundles() else STAND_IN, data=data, public=public)


def settings_at_site(folder: Path, part: Part, *, public: Path | None) -> SiteSettings:
    """Return a site's settings from its own folder of an experiment.

    Args:
        folder: below the site's state folder.
        part: what the site says of itself there.
        public: the folder of the public set, if the caller named it; else a server's copy, or the one beside the data.

    Raises:
        ValueError: no public set is known.
    """
    public = public or _existing(set_folder(folder.parent, part.public_digest))
    beside = folder.parent / "site.json"
    if beside.is_file():
        settings = read_site_settings(beside)
        return replace(settings, public=public or settings.public)
    public = public or _existing(part.data.parent.parent / "public")
    if public is None:
        raise ValueError(f"{folder}: does not say where the public set lies; name its folder with --public")
    return _plain_settings(part.site, bundle=part.bundle, data=part.data, public=public)


def _plain_settings(site: str, *, bundle: str, data: Path, public: Path) -> SiteSettings:
    return SiteSettings(site=site, bundle=bundle, data=data, public=public, state=data, device="cpu", threads=1)


def _places(federation: Path | None, site: str) -> tuple[Path | None, Path | None]:
    return (None, None) if federation is None else (federation / "sites" / site, federation / "public")


def _existing(folder: Path) -> Path | None:
    return folder if str(folder) != "." and folder.is_dir() else None

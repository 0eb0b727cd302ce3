"""What a job may consist of: configuration of the one known form, and nothing beside it.

FLARE reads a job's configuration in several formats, follows includes, fills in variables of the environment and runs
code from `custom`. What a kit's launcher does not start, none of that can reach.
"""

from pathlib import Path

from mdhfl.files import check_against_schema, read_json

SITE_CONFIG, SERVER_CONFIG = "config/config_fed_client.json", "config/config_fed_server.json"
SIGNATURES = (".__nvfl_sig.json", ".__nvfl_submitter.crt")  # which FLARE adds to each folder
LARGEST_FILE = 2**20  # bytes


def check_job(app: Path, *, config: str, schema: str) -> None:
    """Refuse an app that is anything else than one configuration of our form.

    Args:
        app: the folder into which FLARE has unpacked it.
        config: the configuration that counts here, relative to the folder.
        schema: that it must follow.

    Raises:
        ValueError: another file, a file that is too large, or a configuration of another form.
    """
    for path in sorted(app.rglob("*")):
        name = path.relative_to(app).as_posix()
        known = path.is_dir() or name in (SITE_CONFIG, SERVER_CONFIG) or path.name in SIGNATURES
        if path.is_symlink() or not known:
            raise ValueError(
                f"job: expected {SITE_CONFIG} and {SERVER_CONFIG} alone, got {name!r:.100}; a job brings no other "
                "file and no code"
            )
        if path.is_file() and path.stat().st_size > LARGEST_FILE:
            raise ValueError(f"job: {name} has {path.stat().st_size} bytes, more than {LARGEST_FILE}")
    if not (app / config).is_file():
        raise ValueError(f"job: no {config}; export the job again with mdhfl")
    check_against_schema(read_json(app / config), schema=schema, what=f"job: {config}")

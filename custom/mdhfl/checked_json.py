"""JSON files that people write or carry about, checked against their schema in `meta/schemas/` as they are read."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mdhfl import resources


def read_checked(path: Path, *, schema: str, missing: str) -> dict[str, Any]:
    """Read a JSON file and check it.

    Args:
        path: the file.
        schema: name of `meta/schemas/<schema>.schema.json`.
        missing: what to say if there is no such file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not JSON, or does not follow the schema.
    """
    if not path.is_file():
        raise FileNotFoundError(missing)
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: not valid JSON ({error})") from error
    check_against_schema(values, schema=schema, what=str(path))
    return dict(values)


def check_against_schema(values: Mapping[str, Any], *, schema: str, what: str) -> None:
    """Check values against `meta/schemas/<schema>.schema.json`.

    Raises:
        ValueError: naming `what`, the place inside it, what was expected and what came.
    """
    import jsonschema

    path = resources.folder("meta") / "schemas" / f"{schema}.schema.json"
    error = jsonschema.exceptions.best_match(
        jsonschema.Draft202012Validator(json.loads(path.read_text(encoding="utf-8"))).iter_errors(values)
    )
    if error is not None:
        place = "/".join(str(part) for part in error.absolute_path) or "top level"
        raise ValueError(f"{what}: {place}: {error.message} (see {path.name})")

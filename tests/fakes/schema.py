"""The schema of a MONAI bundle's metadata: ours, written from MONAI's specification, or MONAI's own file."""

import os
from pathlib import Path

OWN = Path(__file__).resolve().parents[1] / "data" / "monai_metadata.schema.json"
SCHEMA = Path(os.environ.get("MONAI_METADATA_SCHEMA", OWN))

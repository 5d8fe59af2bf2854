"""The report as JSON: what it holds is its model, field by field, and a schema ships with it.

The schema is JSON Schema 2020-12, in `report-2.schema.json` beside this module, made from the model
(`schema_of_model`) and kept in step by a test: a change of the shape is another version.
"""

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from tasks.domain.report import SCHEMA, Report

SCHEMA_FILE = Path(__file__).parent / "report-2.schema.json"
_ID = f"urn:{SCHEMA.replace('/', ':')}"


def report_json(report: Report) -> bytes:
    """UTF-8, keys in the order of the sections, a newline at the end."""
    return json.dumps(report.as_json(), ensure_ascii=False, indent=1).encode() + b"\n"


@lru_cache(maxsize=1)
def shipped_schema() -> dict[str, Any]:
    """The schema that ships with this version."""
    found: dict[str, Any] = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
    return found


def schema_of_model() -> dict[str, Any]:
    """The schema of the model as it is now: what the file must say."""
    from pydantic import TypeAdapter  # noqa: PLC0415  only to make the file

    made = TypeAdapter(Report).json_schema(mode="serialization")
    made["properties"]["schema"] = {"const": SCHEMA, "title": "Schema", "type": "string"}
    for part in (made, *made["$defs"].values()):
        part["additionalProperties"] = False
        part["required"] = list(part["properties"])
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": _ID,
        **made,
        "title": "Post-incident report",
    }

"""The status page as two files, `index.html` and `status.json`, for any web server.

`status.json` is what the page says and all that is kept; the HTML is made from it. Each is replaced
as a whole, so a reader sees the old one or the new one. The page needs no script, no font and no
other server.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any

from tasks.domain.errors import BadInput
from tasks.domain.status_drafts import Draft

_PAGE = "index.html"
_STATE = "status.json"
_KEPT = 50
_LIMIT = 1024 * 1024
_STYLE = (
    "body{font:1rem/1.5 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem;"
    "color:#1b1f24;background:#fff}h2{margin-bottom:0}time{color:#57606a}"
    "@media(prefers-color-scheme:dark){body{color:#e6edf3;background:#0d1117}time{color:#9da7b1}}"
)


def publish(directory: Path, draft: Draft, now: datetime) -> str:
    """Make the page say the draft, the newest incident first; its receipt. Twice is once.

    Raises BadInput when the directory cannot be written, or holds a page that is not ours.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with _alone(directory):
            incidents = _read(directory / _STATE)
            _say(incidents, draft, now)
            state = {"updated_at": now.isoformat(timespec="seconds"), "incidents": incidents}
            _replace(directory / _STATE, json.dumps(state, indent=2, ensure_ascii=False))
            _replace(directory / _PAGE, page(incidents))
    except OSError as error:
        raise BadInput(f"cannot write the status page in {directory}: {error.strerror}") from error
    return draft.hash


def page(incidents: list[dict[str, Any]]) -> str:
    """The page as HTML, every text escaped."""
    is_well = all(one["status"] == "resolved" for one in incidents)
    heading = "All systems work" if is_well else "There is a problem"
    body = "".join(_article(one) for one in incidents) or "<p>No incident is known.</p>"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><title>Status</title>'
        f"<style>{_STYLE}</style></head><body><main><h1>{heading}</h1>{body}</main></body></html>\n"
    )


def _article(incident: dict[str, Any]) -> str:
    updates = "".join(
        f"<li><time>{escape(each['at'])}</time> <strong>{escape(each['status'])}</strong>: "
        f"{escape(each['text'])}</li>"
        for each in incident["updates"]
    )
    return f"<article><h2>{escape(incident['name'])}</h2><ul>{updates}</ul></article>"


def _say(incidents: list[dict[str, Any]], draft: Draft, now: datetime) -> None:
    there = next((one for one in incidents if one["id"] == draft.page), None)
    if there is None:
        there = {"id": draft.page, "updates": []}
        incidents.insert(0, there)
        del incidents[_KEPT:]
    there |= {"name": draft.subject, "status": draft.state}
    if not any(each["draft"] == draft.hash for each in there["updates"]):
        told = {"draft": draft.hash, "at": now.isoformat(timespec="seconds")}
        there["updates"].insert(0, told | {"status": draft.state, "text": draft.text})


def _read(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    with path.open(encoding="utf-8") as file:
        try:
            found = json.loads(file.read(_LIMIT))["incidents"]
            page(found)
        except (ValueError, KeyError, TypeError) as error:
            raise BadInput(
                f"expected {path} as we write it, found something else: move it away"
            ) from error
    return list(found)


def _replace(path: Path, text: str) -> None:
    beside = path.with_suffix(f".{os.getpid()}.new")
    beside.write_text(text, encoding="utf-8")
    beside.chmod(0o644)  # a web server of another user reads it
    beside.replace(path)


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """One process at a time."""
    with (directory / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield

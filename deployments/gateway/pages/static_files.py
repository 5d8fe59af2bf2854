"""Our style sheet and our script, under addresses that change when they do."""

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import Response

from deployments.gateway.answers import refusal

router = APIRouter()

_DIRECTORY = Path(__file__).parent.parent / "static"
_MEDIA = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}
_HEADERS = {
    "Cache-Control": "public, max-age=31536000, immutable",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@dataclass(frozen=True, slots=True)
class _File:
    content: bytes
    digest: str
    media: str


@lru_cache(maxsize=1)
def _files() -> dict[str, _File]:
    """All of them, read once; what is asked for is a key of this, never a path."""
    found = {}
    for path in sorted(_DIRECTORY.iterdir()):
        if path.suffix in _MEDIA:
            content = path.read_bytes()
            digest = hashlib.sha256(content).hexdigest()[:16]
            found[path.name] = _File(content, digest, _MEDIA[path.suffix])
    return found


def address_of(name: str) -> str:
    """The address of a file of ours."""
    return f"/static/{_files()[name].digest}/{name}"


@router.get("/static/{digest}/{name}")
def show_file(digest: str, name: str) -> Response:
    """A file that is what its address says, for ever."""
    found = _files().get(name)
    if found is None or found.digest != digest:
        return refusal(404, "not found", "a file of ours in its newest form", "another")
    return Response(found.content, media_type=found.media, headers=_HEADERS)

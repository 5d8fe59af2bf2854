"""The fields of a form, small and perhaps malformed: a stranger may have sent it."""

from collections.abc import Iterable

from fastapi import Request
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException

from deployments.gateway.answers import Turned

_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
_FIELDS = 64


async def field(request: Request, name: str) -> str:
    """Its text; empty when the body is no form or has no such field. Raises Turned 400."""
    value = (await _form(request)).get(name, "")
    return value if isinstance(value, str) else ""


async def texts(request: Request, names: Iterable[str]) -> list[str]:
    """What was written in these fields, as far as the form can be read."""
    try:
        form = await _form(request)
    except Turned:
        return []
    found = (form.get(name) for name in names)
    return [text for text in found if isinstance(text, str) and text]


async def _form(request: Request) -> FormData:
    if not request.headers.get("content-type", "").lower().startswith(_FORMS):
        return FormData()
    try:
        return await request.form(max_files=0, max_fields=_FIELDS)
    except (HTTPException, MultiPartException, RuntimeError) as error:
        # RuntimeError: it was read before, by us or by FastAPI, and is none
        raise Turned(400, "not understood", "a form", "something that breaks off") from error

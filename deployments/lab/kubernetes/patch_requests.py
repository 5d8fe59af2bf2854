"""PATCH requests: which of the patches a body is, by its content type."""

from deployments.lab.kubernetes.kinds import Json
from deployments.lab.kubernetes.patches import json_patched, merge_patched, strategic_patched
from deployments.lab.kubernetes.refusals import refusal
from deployments.lab.kubernetes.requests import Request

_JSON_PATCH = "application/json-patch+json"
_MERGE = "application/merge-patch+json"
_STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"


def patched(request: Request, target: Json) -> Json:
    """The target after the patch of a request. Raises 400, 415 or 422."""
    patch = request.content()
    match request.content_type:
        case content_type if content_type == _JSON_PATCH:
            return json_patched(target, patch)
        case content_type if content_type == _MERGE:
            found = merge_patched(target, _object(patch))
        case content_type if content_type == _STRATEGIC:
            found = strategic_patched(target, _object(patch))
        case _:
            text = "the body of the request was in an unknown format - accepted media types "
            listed = f"{_JSON_PATCH}, {_MERGE}, {_STRATEGIC}, {APPLY}"
            raise refusal(415, f"{text}include: {listed}")
    return _object(found)


def _object(found: object) -> Json:
    if not isinstance(found, dict):
        raise refusal(400, "json: cannot unmarshal into Go value of type map[string]interface {}")
    return found

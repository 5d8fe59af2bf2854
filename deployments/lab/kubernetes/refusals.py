"""What the API server says when it does not do what it was asked: a Status, in its own words."""

from typing import Any

from deployments.lab.kubernetes.kinds import Json, Kind

_REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    409: "Conflict",
    410: "Expired",
    415: "UnsupportedMediaType",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
}


class Refusal(Exception):
    """An answer other than success. `body` is the Status, or text where the server sends text."""

    def __init__(self, code: int, body: Json | str) -> None:
        super().__init__(body if isinstance(body, str) else body["message"])
        self.code = code
        self.body = body


def refusal(
    code: int, message: str, details: dict[str, Any] | None = None, reason: str = ""
) -> Refusal:
    """A Status of failure; without `details` the field is absent, as in the server's own."""
    body: Json = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason or _REASONS[code],
    }
    if details is not None:
        body["details"] = details
    return Refusal(code, {**body, "code": code})


def details_of(kind: Kind, name: str = "") -> dict[str, Any]:
    """Name, group and kind, each only when there is one."""
    found = {"name": name, "group": kind.group, "kind": kind.plural}
    return {key: value for key, value in found.items() if value}


def no_such_path() -> Refusal:
    """The plain text of an API group, version or resource that is not served."""
    return Refusal(404, "404 page not found\n")


def not_found(kind: Kind, name: str) -> Refusal:
    """There is no such object."""
    return refusal(404, f'{kind.qualified} "{name}" not found', details_of(kind, name))


def already_exists(kind: Kind, name: str) -> Refusal:
    """The other 409: `reason` tells them apart."""
    text = f'{kind.qualified} "{name}" already exists'
    return refusal(409, text, details_of(kind, name), "AlreadyExists")


def conflict(kind: Kind, name: str, why: str = "") -> Refusal:
    """The object is another by now."""
    why = why or (
        "the object has been modified; please apply your changes to the latest version and try "
        "again"
    )
    text = f'Operation cannot be fulfilled on {kind.qualified} "{name}": {why}'
    return refusal(409, text, details_of(kind, name))


def invalid(
    group: str, kind: str, name: str, field: str, why: str, reason: str = "FieldValueInvalid"
) -> Refusal:
    """A value that the API does not accept; `why` begins with what is wrong."""
    qualified = f"{kind}.{group}" if group else kind
    causes = [{"reason": reason, "message": why, "field": field}]
    details = {"name": name, "group": group, "kind": kind, "causes": causes}
    return refusal(
        422,
        f'{qualified} "{name}" is invalid: {field}: {why}',
        {key: value for key, value in details.items() if value},
    )


def vague() -> Refusal:
    """What a JSON patch gets that does not fit, a failed `test` included."""
    return refusal(422, "the server rejected our request due to an error in our request", {})


def forbidden(kind: Kind, name: str, why: str) -> Refusal:
    """By RBAC or by admission."""
    what = f'{kind.qualified} "{name}"' if name else kind.qualified
    return refusal(403, f"{what} is forbidden: {why}", details_of(kind, name))


def expired(message: str) -> Refusal:
    """410: what is asked for is older than what is kept."""
    return refusal(410, message, reason="Expired")

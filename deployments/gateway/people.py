"""Who is asking: a person's bearer token, looked up on every request."""

from typing import Annotated

from fastapi import Depends, Request

from deployments.gateway.answers import bearer
from tasks.work.people import Person, Role, authenticate


class Turned(Exception):
    """A request that is answered with 401 or 403."""

    def __init__(self, status: int, error: str, expected: str, found: str) -> None:
        super().__init__(error)
        self.status = status
        self.error = error
        self.expected = expected
        self.found = found


def reader(request: Request) -> Person:
    """Any person with a token that is still valid."""
    token = bearer(request)
    person = authenticate(token) if token else None
    if person is None:
        raise Turned(401, "unauthorised", "a person's valid bearer token", "none that fits")
    return person


def responder(person: Annotated[Person, Depends(reader)]) -> Person:
    """A person who may act on incidents."""
    if person.role not in {Role.RESPONDER, Role.APPROVER}:
        raise Turned(403, "forbidden", "a responder or an approver", f"a {person.role}")
    return person


def approver(person: Annotated[Person, Depends(reader)]) -> Person:
    """A person who may decide on plans."""
    if person.role is not Role.APPROVER:
        raise Turned(403, "forbidden", "an approver", f"a {person.role}")
    return person


Reader = Annotated[Person, Depends(reader)]
Responder = Annotated[Person, Depends(responder)]
Approver = Annotated[Person, Depends(approver)]

"""A change that a person asks for without a cause: other replicas, a shutdown, a start-up."""

from dataclasses import dataclass
from enum import StrEnum


class Wanted(StrEnum):
    """What is to be done."""

    SCALE = "scale"
    SHUT_DOWN = "shut-down"
    START = "start"


@dataclass(frozen=True, slots=True)
class ChangeWish:
    """`part` is `api` or `workers`, and `replicas` how many, when it is about scaling.

    Whoever wished for it may not approve the plan.
    """

    wanted: Wanted
    by: str
    part: str = ""
    replicas: int = 0

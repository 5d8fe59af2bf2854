"""What a person asked for who wants a release gone."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RollbackWish:
    """`workload` is `deployment/NAME`; `holder` keeps the revision that they named, or is empty.

    Whoever wished for it may not approve the plan.
    """

    workload: str
    holder: str
    by: str

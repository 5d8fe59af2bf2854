"""A revision as a plan names it: by what stays the same while people decide."""

from dataclasses import dataclass
from typing import Any

from tasks.domain.errors import BadInput
from tasks.domain.json_fields import Fields
from tasks.domain.rollout_look import template_digest
from tasks.domain.untrusted import visible
from tasks.domain.workloads import Revision

_SHOWN = 5
_NAME_LIMIT = 120


@dataclass(frozen=True, slots=True)
class Place:
    """By holder, uid and digest of the template.

    `number` is what it had when the plan was made; an undo gives it another.
    """

    holder: str
    uid: str
    number: int
    template: str
    images: tuple[str, ...]

    @classmethod
    def of(cls, revision: Revision) -> "Place":
        """Of a revision in a history."""
        return cls(
            holder=revision.holder,
            uid=revision.holder_uid,
            number=revision.number,
            template=template_digest(revision.template.content),
            images=tuple(visible(each, _NAME_LIMIT) for each in revision.images[:_SHOWN]),
        )

    def as_json(self) -> dict[str, Any]:
        """The input of `read_place`."""
        return {
            "holder": self.holder,
            "uid": self.uid,
            "number": self.number,
            "template": self.template,
            "images": list(self.images),
        }

    def __str__(self) -> str:
        """For people."""
        images = ", ".join(visible(each, _NAME_LIMIT) for each in self.images)
        return f"revision {self.number} ({images})"


def read_place(found: Fields) -> Place:
    """From a plan's arguments. Raises BadInput when it names no revision."""
    place = Place(
        holder=found.exact("holder"),
        uid=found.exact("uid"),
        number=found.number("number"),
        template=found.exact("template"),
        images=found.texts("images"),
    )
    if not (place.holder and place.uid and place.template):
        raise BadInput("expected a revision by holder, uid and template, found it without")
    return place

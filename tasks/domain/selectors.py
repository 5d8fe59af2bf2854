"""Label selectors: read, matched, and written for the `labelSelector` parameter."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from tasks.domain.json_fields import Fields, complain

_WORD = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_./]{0,314}[A-Za-z0-9])?)?")
_EXPRESSIONS = 64


class Operator(StrEnum):
    """How a requirement compares."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    ABSENT = "DoesNotExist"


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on a label."""

    key: str
    operator: Operator
    values: tuple[str, ...] = ()

    def allows(self, labels: Mapping[str, str]) -> bool:
        """Whether these labels meet it, as the API server decides it."""
        match self.operator:
            case Operator.IN:
                return labels.get(self.key) in self.values
            case Operator.NOT_IN:
                return labels.get(self.key) not in self.values
            case Operator.EXISTS:
                return self.key in labels
            case Operator.ABSENT:
                return self.key not in labels

    @property
    def query(self) -> str:
        """Its text in a selector."""
        values = ",".join(self.values)
        match self.operator:
            case Operator.IN:
                one = len(self.values) == 1
                return f"{self.key}={values}" if one else f"{self.key} in ({values})"
            case Operator.NOT_IN:
                return f"{self.key} notin ({values})"
            case Operator.EXISTS:
                return self.key
            case Operator.ABSENT:
                return f"!{self.key}"


@dataclass(frozen=True, slots=True)
class Selector:
    """Which pods are meant: those that meet every requirement; without any, all of them."""

    requirements: tuple[Requirement, ...]

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether a pod with these labels is meant."""
        return all(each.allows(labels) for each in self.requirements)

    @property
    def query(self) -> str:
        """For the `labelSelector` parameter."""
        return ",".join(each.query for each in self.requirements)


def read_selector(spec: Fields) -> Selector:
    """`selector` of a spec. Raises BadInput for words that could turn it into another one."""
    selector = spec.within("selector")
    wanted = [
        Requirement(_word(selector, key), Operator.IN, (_word(selector, text),))
        for key, text in selector.pairs("matchLabels").items()
    ]
    for each in selector.each("matchExpressions", _EXPRESSIONS):
        operator = each.text("operator", 40)
        if operator not in set(Operator):
            complain(f"{each.where}.operator", "In, NotIn, Exists or DoesNotExist", operator)
        values = tuple(_word(each, text) for text in each.texts("values"))
        wanted.append(Requirement(_word(each, each.exact("key")), Operator(operator), values))
    return Selector(tuple(wanted))


def _word(fields: Fields, text: str) -> str:
    """A label's key or value: nothing in it that the grammar of selectors knows."""
    if _WORD.fullmatch(text) is None:
        complain(fields.where, "labels of letters, digits and -_./", text)
    return text

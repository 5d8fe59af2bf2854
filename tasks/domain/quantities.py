"""Kubernetes quantities (`250m`, `1.5Gi`, `1204109n`) as whole nanocores and whole bytes.

The grammar is that of apimachinery's resource.Quantity: a decimal number with a binary suffix, a
decimal suffix or an exponent. Fractions are rounded up, as the API server does.
"""

import re
from fractions import Fraction
from math import ceil

from tasks.domain.errors import BadInput

_QUANTITY = re.compile(
    r"\+?(?P<number>[0-9]{1,24}(?:\.[0-9]{0,24})?|\.[0-9]{1,24})"
    r"(?:(?P<suffix>[KMGTPE]i|[numkMGTPE])|[eE](?P<exponent>[+-]?[0-9]{1,2}))?"
)
_BINARY = {unit: Fraction(1024**power) for power, unit in enumerate("KMGTPE", start=1)}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_LARGEST_EXPONENT = 30
_NANO = 10**9


def quantity(text: str) -> Fraction:
    """Its exact value, in cores, bytes or pieces. Raises BadInput; negative ones are refused."""
    found = _QUANTITY.fullmatch(text) if len(text) <= 64 else None  # noqa: PLR2004  far above any
    if found is None:
        raise BadInput(f"expected a quantity such as 250m or 1.5Gi, found {text[:40]!r}")
    whole, _, fraction = found["number"].partition(".")
    number = Fraction(int(f"{whole}{fraction}" or "0"), 10 ** len(fraction))
    return number * _factor(found["suffix"] or "", found["exponent"] or "0")


def nanocores(text: str) -> int:
    """A CPU quantity: `250m` is 250,000,000."""
    return ceil(quantity(text) * _NANO)


def whole(text: str) -> int:
    """A quantity of bytes, or of things that are counted."""
    return ceil(quantity(text))


def _factor(suffix: str, exponent: str) -> Fraction:
    if suffix.endswith("i"):
        return _BINARY[suffix[0]]
    power = _DECIMAL.get(suffix, int(exponent))
    if abs(power) > _LARGEST_EXPONENT:
        raise BadInput(f"expected a quantity with an exponent up to 30, found {exponent}")
    return Fraction(10) ** power

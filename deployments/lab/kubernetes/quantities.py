"""Amounts of CPU and memory in the API's notation, as exact numbers."""

import re
from fractions import Fraction

from deployments.lab.kubernetes.kinds import Json

_SUFFIXES = {
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 1000),
    "": Fraction(1),
    "k": Fraction(10**3),
    "M": Fraction(10**6),
    "G": Fraction(10**9),
    "T": Fraction(10**12),
    "Ki": Fraction(2**10),
    "Mi": Fraction(2**20),
    "Gi": Fraction(2**30),
    "Ti": Fraction(2**40),
}


def amount(text: str | int) -> Fraction:
    """Cores or bytes. Raises ValueError."""
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([numkMGT]|[KMGT]i)?", str(text))
    if found is None:
        raise ValueError(f"expected a quantity, found {str(text)[:40]!r}")
    return Fraction(found[1]) * _SUFFIXES[found[2] or ""]


def millis(value: Fraction) -> str:
    """Cores as the API prefers them: `250m`, `4`."""
    return str(value) if value.denominator == 1 else f"{int(value * 1000)}m"


def asked(pod: Json, what: str, of: str = "requests") -> Fraction:
    """What a pod's containers ask for (or are limited to), together."""
    found = (each["resources"].get(of, {}).get(what, 0) for each in pod["spec"]["containers"])
    return sum((amount(each) for each in found), Fraction(0))

"""Quantities as Kubernetes writes them."""

from contextlib import suppress
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.domain.errors import BadInput
from tasks.domain.quantities import nanocores, quantity, whole


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1204109n", Fraction(1204109, 10**9)),
        ("524Ki", 524 * 1024),
        ("250m", Fraction(1, 4)),
        ("1.5Gi", 3 * 2**29),
        ("0", 0),
        ("2", 2),
        (".5", Fraction(1, 2)),
        ("5.", 5),
        ("+3k", 3000),
        ("10u", Fraction(1, 100_000)),
        ("1E", 10**18),
        ("1E3", 1000),
        ("1e-3", Fraction(1, 1000)),
        ("12e6", 12_000_000),
        ("1Ei", 2**60),
    ],
)
def test_a_quantity_is_what_kubernetes_means_by_it(text: str, value: Fraction) -> None:
    assert quantity(text) == value


def test_fractions_of_a_nanocore_or_a_byte_are_rounded_up() -> None:
    assert nanocores("250m") == 250_000_000
    assert nanocores("0.1n") == 1
    assert whole("1500m") == 2


@pytest.mark.parametrize(
    "text",
    [
        *["", "-1", "1KI", "1 Gi", "Ki", ".", "1..2", "0x10", "1e", "1e999", "1e+31", "NaN", "1\n"],
        *["\N{ARABIC-INDIC DIGIT ONE}", "9" * 25, "1." + "0" * 60],
    ],
)
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(BadInput):
        quantity(text)


@given(st.text(max_size=80))
def test_any_text_is_a_number_or_refused_and_nothing_else(text: str) -> None:
    with suppress(BadInput):
        assert quantity(text) >= 0


@given(st.integers(0, 10**12), st.sampled_from(["", "m", "k", "Ki", "Mi", "Gi", "n", "u"]))
def test_a_larger_number_of_the_same_unit_is_never_less(number: int, unit: str) -> None:
    assert quantity(f"{number}{unit}") <= quantity(f"{number + 1}{unit}")

"""ENISA's method: its vectors, its bounds, and what it refuses."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as some

from tasks.domain.enisa import (
    EASE,
    Availability,
    Band,
    Breach,
    Category,
    Confidentiality,
    Ease,
    Identifier,
    Integrity,
    assess,
)
from tasks.domain.errors import BadInput

_EASIEST = {
    ease: next(identifier for identifier in Identifier if ease in EASE[identifier]) for ease in Ease
}


def breach(category: int, ease: float, circumstances: float = 0.0, **more: object) -> Breach:
    """A breach whose parts add up to these numbers."""
    quarters = round(circumstances / 0.25)
    malicious = quarters > 6
    rest = quarters - (2 if malicious else 0)
    parts = next(found for found in itertools.product(range(3), repeat=3) if sum(found) == rest)
    degree = Ease(ease)
    values = {
        "categories": frozenset({Category(category)}),
        "identifiers": {_EASIEST[degree]: degree},
        "confidentiality": Confidentiality(parts[0] / 4),
        "integrity": Integrity(parts[1] / 4),
        "availability": Availability(parts[2] / 4),
        "malicious": malicious,
        **more,
    }
    return Breach(**values)  # type: ignore[arg-type]  the fields, some of them given


@pytest.mark.parametrize(
    ("category", "ease", "circumstances", "score", "band"),
    [
        (4, 0.75, 0.75, 3.75, Band.HIGH),
        (3, 1.0, 0.25, 3.25, Band.HIGH),
        (1, 1.0, 0.25, 1.25, Band.LOW),
        (2, 0.25, 0.5, 1.0, Band.LOW),
        (2, 1.0, 0.0, 2.0, Band.MEDIUM),
        (4, 1.0, 1.0, 5.0, Band.VERY_HIGH),
        (1, 0.25, 0.0, 0.25, Band.LOW),
        (4, 1.0, 2.0, 6.0, Band.VERY_HIGH),
        (4, 0.75, 0.0, 3.0, Band.HIGH),
        (4, 1.0, 0.0, 4.0, Band.VERY_HIGH),
    ],
)
def test_the_vectors_have_their_scores_and_bands(
    category: int, ease: float, circumstances: float, score: float, band: Band
) -> None:
    found = assess(breach(category, ease, circumstances))
    assert (found.score, found.band) == (score, band)


def test_the_gravest_category_and_the_easiest_identifier_count() -> None:
    found = assess(
        Breach(
            categories=frozenset({Category.SIMPLE, Category.FINANCIAL}),
            identifiers={Identifier.ALIAS: Ease.NEGLIGIBLE, Identifier.EMAIL: Ease.SIGNIFICANT},
            confidentiality=Confidentiality.NO_EVIDENCE_OF_ACCESS,
            integrity=Integrity.NO_WRONG_USE,
            availability=Availability.EASILY_RECOVERED,
            malicious=False,
        )
    )
    assert (found.context, found.ease) == (3, 0.75)


def test_malice_adds_half_a_point() -> None:
    assert assess(breach(1, 0.25, malicious=True)).score == 0.75


@pytest.mark.parametrize(("steps", "context"), [(-9, 1), (-1, 1), (1, 3), (9, 4)])
def test_a_moved_context_stays_between_one_and_four(steps: int, context: int) -> None:
    found = assess(breach(2, 1.0, adjustment=steps, reason="what the file held was public"))
    assert found.context == context


def test_a_moved_context_needs_a_reason() -> None:
    with pytest.raises(BadInput, match="reason for moving the data's context by -1"):
        breach(2, 1.0, adjustment=-1, reason=" ")


def test_a_degree_that_the_method_does_not_know_is_refused_with_those_it_knows() -> None:
    with pytest.raises(BadInput, match="e-mail to be one of negligible, significant, maximum"):
        breach(1, 1.0, identifiers={Identifier.EMAIL: Ease.LIMITED})


@pytest.mark.parametrize("lacking", [{"categories": frozenset()}, {"identifiers": {}}])
def test_a_breach_of_nothing_is_refused(lacking: dict[str, object]) -> None:
    with pytest.raises(BadInput, match="at least one category"):
        breach(1, 1.0, **lacking)


def test_flags_change_no_score() -> None:
    plain, flagged = (
        assess(breach(3, 0.5, 0.25)),
        assess(breach(3, 0.5, 0.25, people=101, unintelligible=True)),
    )
    assert plain.score == flagged.score
    assert len(flagged.flags) == 2
    assert assess(breach(3, 0.5, people=100)).flags == ()


@given(
    some.sampled_from(list(Category)),
    some.sampled_from(list(Ease)),
    some.sampled_from([step / 4 for step in range(9)]),
)
def test_every_score_is_within_the_methods_bounds_and_grows_with_its_parts(
    category: Category, ease: Ease, circumstances: float
) -> None:
    found = assess(breach(category.value, ease.value, circumstances))
    assert 0.25 <= found.score <= 6.0
    worse = assess(breach(4, 1.0, circumstances))
    assert found.score <= worse.score

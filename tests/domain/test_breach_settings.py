"""Settings of a suspected breach: what would cut off everybody, or nobody, is refused."""

from typing import Any

import pytest
from pydantic import ValidationError

from tasks.domain.isolation import UNLESS_CONFIRMED
from tasks.sections.breach import BreachSettings


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("labels", {}),  # a selector without labels means every pod, the database's too
        ("forensics", {}),
        ("labels", {"app": ""}),
        ("labels", {"app": "a,b"}),
        ("labels", {"app!": "a"}),
        ("scope", ""),
        ("scope", "database/../x y"),
        ("minutes", 0),
        ("minutes", 7 * 24 * 60 + 1),
        ("window_minutes", 0),
        ("spared_addresses", ["10.0.0.1/8"]),
        ("spared_addresses", ["not one"]),
        ("api_roles", [""]),
        ("unknown", 1),
    ],
)
def test_what_makes_no_sense_is_refused(field: str, value: Any) -> None:
    with pytest.raises(ValidationError):
        BreachSettings.model_validate({field: value})


def test_as_shipped_everything_is_held_nobody_is_locked_and_it_goes_back_in_time() -> None:
    shipped = BreachSettings()
    assert shipped.scope == "*"
    assert shipped.isolation_dsn.get_secret_value() == ""
    assert shipped.minutes * 60 == UNLESS_CONFIRMED.total_seconds()


def test_the_dsn_is_no_text_that_a_log_could_show() -> None:
    made = BreachSettings.model_validate({"isolation_dsn": "postgresql://a:geheim@b/c"})
    assert "geheim" not in repr(made)

"""What the runbook's lines say of a look that saw nothing."""

from tasks.domain.database_readings import Unread
from tasks.domain.observation import Health
from tasks.domain.privacy_anonymisation import Floors, Published, look_at
from tasks.domain.privacy_limits import PrivacyLimits
from tasks.domain.privacy_readings import PrivacyReadings
from tasks.work import privacy_checks

GONE = Unread("not looked at")


def health(total: int) -> Health:
    records = look_at(Published((), total), Floors(quasi=("zip",), sensitive="answer"))
    seen = PrivacyReadings(GONE, GONE, GONE, GONE, GONE, records)
    return privacy_checks.anonymisation(seen, PrivacyLimits()).health


def test_published_records_of_which_none_was_read_are_not_called_anonymous() -> None:
    assert health(500) is Health.UNKNOWN
    assert health(0) is Health.HEALTHY  # nothing is published

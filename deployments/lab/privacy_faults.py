"""Faults of the privacy engine: it spends what is not there, or hides nothing any more."""

import secrets
import time

import httpx

from deployments.lab.damage import Damage
from deployments.lab.errors import LabError
from deployments.lab.parts import Parts
from deployments.lab.patient import DATABASE
from deployments.lab.privacy_engine_state import Engine

EPSILON, RELEASES = 0.5, 40
"""Added up twenty, tightly composed about fourteen: of ten that may be spent on one's data."""

_HALF = 0.5
_ANSWER_SECONDS = 20.0
_NOTICED_SECONDS = 1.0
_ANYBODY = "SELECT annotator FROM privacy_budgets ORDER BY annotator LIMIT 1"
_CONCERNED = (
    "SELECT count(DISTINCT annotator) FROM (SELECT annotator FROM annotations UNION ALL"
    " SELECT annotator FROM privacy_budgets UNION ALL SELECT event_data ->> 'annotator'"
    " FROM audit_events) AS everybody"
)
_EXPORT = "SELECT event_id, annotator FROM annotations"
PUBLIC = "public-exports"
_RESET = "UPDATE privacy_budgets SET epsilon_used = 0, delta_used = 0, operations_count = 0"


def privacy_overspend(lab: Parts) -> Damage:
    """The nightly job resets the budgets, and the engine releases on about one annotator."""
    with lab.patient.connect(DATABASE) as connection:
        row = connection.execute(_ANYBODY).fetchone()
    if row is None:
        raise LabError("expected releases in the ledger, found none: the lab has too few records")
    for _ in range(RELEASES):
        answer = release(lab, str(row[0]), EPSILON)
        if answer != httpx.codes.OK:
            raise LabError(f"expected the engine to release, found status {answer}")
    with lab.patient.connect(DATABASE) as connection:
        connection.execute(_RESET)
    time.sleep(_NOTICED_SECONDS)
    return Damage(
        f"{RELEASES} releases of epsilon {EPSILON} about one annotator, and all counters set to 0",
        cause="privacy.overspend",
    )


def noise_broken(lab: Parts) -> Damage:
    """A new version of the engine adds half of the noise that it claims."""
    Engine(lab.engine_file).break_noise(_HALF)
    return Damage("the noise has half of its scale", cause="privacy.noise-broken")


def annotator_exposed(lab: Parts) -> Damage:
    """An export of all annotations is put into a bucket that is meant for the public."""
    with lab.patient.connect(DATABASE) as connection:
        row = connection.execute(_CONCERNED).fetchone()
        exported = connection.execute(_EXPORT).fetchall()
    client = lab.objects.client("operator")
    client.create_bucket(Bucket=PUBLIC)
    lines = "\n".join(",".join(map(str, each)) for each in exported)
    client.put_object(Bucket=PUBLIC, Key="annotations.csv", Body=lines.encode())
    client.close()
    people = int(row[0]) if row else 0
    said = f"{len(exported)} annotations of {people} people lie in the bucket {PUBLIC}"
    return Damage(said, people=people)


def release(lab: Parts, annotator: str, epsilon: float) -> int:
    """Ask the engine for one release about an annotator; the status of its answer."""
    asked = {
        "event_id": secrets.token_hex(16),
        "session_id": f"session-{secrets.token_hex(8)}",
        "annotator": annotator,
        "epsilon": epsilon,
    }
    return httpx.post(
        f"{lab.api.url}/api/v1/privacy/releases",
        json=asked,
        headers={"Authorization": f"Bearer {lab.api.token}"},
        timeout=_ANSWER_SECONDS,
        trust_env=False,
    ).status_code

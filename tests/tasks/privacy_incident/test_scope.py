"""The scope of a privacy incident on a real server: counted, bounded, and nobody named."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from tasks.domain.enisa import Category, Identifier
from tasks.domain.ledger import canonical_line
from tasks.domain.privacy_scope import Part, Scope, severity_of
from tasks.settings import settings
from tasks.work import privacy_scope
from tasks.work.privacy_scope import LOG
from tests.postgres_fixture import AuditDatabase

pytestmark = pytest.mark.components

START = datetime(2026, 3, 14, 3, 0, tzinfo=UTC)
CANARY = "quill.canary@annotators.invalid"
_TABLES = """
CREATE TABLE annotations (annotator text, created_at timestamptz);
CREATE TABLE privacy_budgets (annotator text, updated_at timestamptz);
GRANT SELECT ON annotations, privacy_budgets TO audit_reader;
"""


def line(seq: int, hours: float, **data: object) -> bytes:
    at = (START + timedelta(hours=hours)).isoformat()
    return canonical_line({"seq": seq, "_prev": "0" * 64, "timestamp": at, "data": data})


@pytest.fixture
def database(audit_database: AuditDatabase, monkeypatch: pytest.MonkeyPatch) -> AuditDatabase:
    monkeypatch.setenv("RUNBOOK_DATABASE__READER_DSN", audit_database.reader)
    monkeypatch.setenv("RUNBOOK_PRIVACY_INCIDENT__PSEUDONYM_KEY", "a key of the tests")
    settings.cache_clear()
    for statement in _TABLES.strip().split("\n"):
        audit_database.run(statement)
    audit_database.add(
        [
            line(0, 0, annotator="anna"),
            line(1, 1, annotator="bert", annotator_email=CANARY),
            line(2, 2, model="policy-7b"),
            line(3, 30, annotator="anna", prompt="words"),
        ]
    )
    row = "INSERT INTO annotations VALUES (%s, %s)"
    for name, hours in (("anna", 0), ("carl", 30), ("carl", 31)):
        audit_database.run(row, name, START + timedelta(hours=hours))
    return audit_database


def measured(onset: datetime | None = START) -> Scope:
    settings.cache_clear()
    return privacy_scope.measured(settings(), onset)


def part(scope: Scope, table: str) -> Part:
    return next(each for each in scope.parts if each.table == table)


@pytest.mark.usefixtures("database")
def test_records_people_times_and_kinds_of_data_are_counted_over_log_and_tables() -> None:
    scope = measured()
    log, annotations = part(scope, LOG), part(scope, "public.annotations")
    assert (log.rows, log.people, log.reason) == (3, 2, "")
    assert (log.first, log.last) == (START, START + timedelta(hours=30))
    assert log.named_by == {Identifier.ALIAS: 3, Identifier.EMAIL: 1}
    assert log.categories == {Category.BEHAVIOURAL, Category.SENSITIVE}  # a prompt may say all
    assert (annotations.rows, annotations.people) == (3, 2)
    assert (scope.rows, scope.people, scope.at_least) == (6, 3, False)  # anna is one person


@pytest.mark.usefixtures("database")
def test_nobody_is_named_in_what_is_kept_and_the_same_people_have_the_same_fingerprint() -> None:
    scope = measured()
    kept = json.dumps(scope.as_json()) + scope.words()
    assert not [name for name in ("anna", "bert", "carl", CANARY) if name in kept]
    assert scope.fingerprint == measured().fingerprint != ""
    assert Scope.from_json(json.loads(json.dumps(scope.as_json()))) == scope


def test_another_key_gives_other_pseudonyms_and_without_one_nothing_can_be_compared(
    database: AuditDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = measured().fingerprint
    monkeypatch.setenv("RUNBOOK_PRIVACY_INCIDENT__PSEUDONYM_KEY", "another key of the tests")
    assert measured().fingerprint not in {first, ""}
    monkeypatch.setenv("RUNBOOK_PRIVACY_INCIDENT__PSEUDONYM_KEY", "short")
    scope = measured()
    assert (scope.people, scope.fingerprint) == (3, "")
    assert database.reader


@pytest.mark.usefixtures("database")
def test_a_window_counts_what_came_in_since_it_began(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNBOOK_PRIVACY_INCIDENT__DAYS_BEFORE", "0.5")
    scope = measured(START + timedelta(hours=36))
    assert scope.since == START + timedelta(hours=24)
    assert (part(scope, LOG).rows, part(scope, "public.annotations").rows) == (1, 2)
    assert scope.people == 2


def test_a_row_without_a_time_counts_as_inside_every_window(
    database: AuditDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNBOOK_PRIVACY_INCIDENT__DAYS_BEFORE", "0.5")
    database.run("INSERT INTO annotations VALUES ('dave', NULL)")
    database.add([canonical_line({"seq": 4, "_prev": "0" * 64, "data": {"annotator": "eve"}})], 4)
    scope = measured(START + timedelta(hours=36))
    assert (part(scope, LOG).rows, part(scope, "public.annotations").rows) == (2, 3)


def test_what_cannot_be_measured_says_why_and_the_rest_is_measured(
    database: AuditDatabase,
) -> None:
    database.run("DROP TABLE privacy_budgets")
    database.run("REVOKE SELECT ON annotations FROM audit_reader")
    scope = measured()
    assert part(scope, LOG).rows == 3
    for table, why in (("public.annotations", "refused"), ("public.privacy_budgets", "not there")):
        assert part(scope, table).rows is None
        assert why in part(scope, table).reason
    assert scope.at_least
    assert scope.number(scope.rows) == "at least 3"
    assert scope.people == 2


def test_a_view_in_a_tables_place_is_not_read(database: AuditDatabase) -> None:
    database.run("ALTER TABLE annotations RENAME TO kept")
    database.run("CREATE VIEW annotations AS SELECT * FROM kept")
    database.run("GRANT SELECT ON annotations TO audit_reader")
    scope = measured()
    assert part(scope, "public.annotations").rows is None
    assert part(scope, LOG).rows == 3


def test_a_damaged_line_makes_the_number_a_lower_bound(database: AuditDatabase) -> None:
    database.add([b'{"seq":4, "data":{"annotator":"\xff'], 4)
    log = part(measured(), LOG)
    assert (log.rows, log.at_least, log.reason) == (3, True, "1 lines cannot be read")


def test_beyond_the_bound_it_is_at_least_so_much(
    database: AuditDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.add([line(seq, 31, annotator=f"a{seq}") for seq in range(4, 200)], 4)
    monkeypatch.setenv("RUNBOOK_PRIVACY_INCIDENT__MOST_RECORDS", "100")
    log = part(measured(), LOG)
    assert (log.rows, log.at_least) == (100, True)
    assert "newest 100 records" in log.reason


def test_a_server_that_does_not_answer_leaves_everything_unknown_and_concerned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RUNBOOK_DATABASE__READER_DSN", "postgresql://audit_reader@127.0.0.1:1/x")
    scope = measured()
    assert (scope.rows, scope.people) == (None, None)
    assert len(scope.unmeasured) == 3
    assert scope.categories == {Category.BEHAVIOURAL, Category.SIMPLE, Category.SENSITIVE}
    assert "UNKNOWN records" in scope.words()


def test_what_cannot_be_measured_scores_no_lower_than_the_same_when_it_is_read(
    database: AuditDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = []
    readable = measured()
    database.run("REVOKE SELECT ON audit_records FROM audit_reader")
    refused = measured()
    monkeypatch.setenv("RUNBOOK_DATABASE__READER_DSN", "postgresql://audit_reader@127.0.0.1:1/x")
    for scope in (readable, refused, measured()):
        kept = Scope.from_json(json.loads(json.dumps(scope.as_json())))
        severity = severity_of(kept, settings().privacy_incident.circumstances())
        assert severity is not None
        scores.append(severity.score)
    assert part(refused, LOG).rows is None
    assert scores[0] > 2.0
    assert min(scores[1:]) >= scores[0]


def test_a_hostile_name_of_a_person_and_a_table_stay_data(
    database: AuditDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.run("INSERT INTO annotations VALUES (%s, now())", "'; DROP TABLE annotations;--\u202e")
    assert part(measured(), "public.annotations").people == 3
    monkeypatch.setenv(
        "RUNBOOK_PRIVACY_INCIDENT__TABLES",
        json.dumps([{"name": "public.x; DROP", "time": "t", "categories": ["simple"]}]),
    )
    with pytest.raises(Exception, match="PRIVACY_INCIDENT"):
        measured()

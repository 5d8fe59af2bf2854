"""Looking into real dumps, of every format, without a server."""

import subprocess
from pathlib import Path

import pytest

from deployments.lab.postgres import binaries
from tasks.clients.postgres import environment
from tasks.domain.backup_contents import Contents, Inside, Span
from tasks.domain.backups import Format
from tasks.work.backup_contents import look_inside, signed_by
from tests.tasks.recovery.conftest import BACKUP, NAMES, SIGNED, SIZE, Patient

pytestmark = pytest.mark.components

FORMATS = (
    (Format.CUSTOM, "custom"),
    (Format.DIRECTORY, "directory"),
    (Format.TAR, "tar"),
    (Format.PLAIN, "plain"),
)


def dump(patient: Patient, target: Path, kind: str, *more: str) -> Path:
    dsn = patient.servers.postgres.dsn("sealer", NAMES.production)
    program = str(binaries() / "pg_dump")
    arguments = [program, f"--format={kind}", f"--file={target}", *more]
    subprocess.run(arguments, env=environment(dsn), check=True, timeout=60)
    return target


def looked(patient: Patient, path: Path, kind: Format, at_least: int = 0) -> Contents:
    signed = signed_by(patient.site.log, patient.head())
    return look_inside(
        path, kind, signed, database=NAMES.production, at_least=at_least, binaries=binaries()
    )


@pytest.mark.parametrize(("kind", "option"), FORMATS)
def test_tampering_is_found_in_a_dump_of_any_format(
    patient: Patient, tmp_path: Path, kind: Format, option: str
) -> None:
    clean = looked(patient, dump(patient, tmp_path / "clean", option), kind)
    patient.hurt("UPDATE audit_records SET record = record || ' ' WHERE seq = 7")
    patient.hurt("DELETE FROM audit_records WHERE seq IN (100, 101)")
    poisoned = looked(patient, dump(patient, tmp_path / "poisoned", option), kind)

    assert (clean.status, clean.size, clean.beyond) == (Inside.CLEAN, SIGNED, SIZE - SIGNED)
    assert clean.checkpoint == SIGNED
    assert poisoned.status is Inside.POISONED
    assert (poisoned.altered, poisoned.missing) == ((Span(7, 1),), (Span(100, 2),))


@pytest.mark.parametrize("how", ["--inserts", "--column-inserts", "--rows-per-insert=500"])
def test_a_dump_of_inserts_is_looked_into_like_any_other(
    patient: Patient, tmp_path: Path, how: str
) -> None:
    patient.hurt("UPDATE audit_records SET record = record || ' ' WHERE seq = 7")
    for kind, option in (FORMATS[0], FORMATS[3]):
        found = looked(patient, dump(patient, tmp_path / option, option, how), kind)
        assert (found.status, found.altered, found.size) == (Inside.POISONED, (Span(7, 1),), SIGNED)


def test_a_dump_without_data_holds_no_log(patient: Patient, tmp_path: Path) -> None:
    for kind, option in FORMATS:
        path = dump(patient, tmp_path / option, option, "--schema-only")
        assert looked(patient, path, kind).status is Inside.NO_LOG


def test_a_column_whose_name_must_be_quoted_makes_no_dump_unreadable(
    patient: Patient, tmp_path: Path
) -> None:
    patient.hurt('ALTER TABLE audit_records ADD "user, ""x""" text')
    patient.hurt(
        "CREATE FUNCTION trap() RETURNS text LANGUAGE sql AS"
        " $$ SELECT '\nCOPY public.audit_records (seq) FROM stdin;\nCOPY x FROM stdin;\n' $$"
    )
    for kind, option in FORMATS:
        found = looked(patient, dump(patient, tmp_path / option, option), kind)
        assert (found.status, found.size) == (Inside.CLEAN, SIGNED)


def test_an_older_backup_reaches_as_far_as_it_does(patient: Patient) -> None:
    found = looked(patient, patient.archive, Format.CUSTOM, at_least=BACKUP)
    assert (found.status, found.size, found.checkpoint) == (Inside.CLEAN, BACKUP, None)
    assert found.last_at is not None


def test_a_table_that_was_dropped_before_the_dump_is_no_log(
    patient: Patient, tmp_path: Path
) -> None:
    patient.hurt("DROP TABLE audit_records CASCADE")
    for kind, option in FORMATS:
        path = dump(patient, tmp_path / option, option)
        assert looked(patient, path, kind).status is Inside.NO_LOG


def test_an_archive_that_is_cut_off_or_damaged_is_unreadable(patient: Patient) -> None:
    content = patient.archive.read_bytes()
    damaged = bytearray(content)
    damaged[len(content) // 2] ^= 0xFF
    for bad in (b"", b"PGDMP", content[: len(content) // 2], bytes(damaged), b"x" * 10_000):
        patient.archive.write_bytes(bad)
        found = looked(patient, patient.archive, Format.CUSTOM)
        assert found.status in {Inside.UNREADABLE, Inside.POISONED}, found
        assert len(found.why) <= 300
    missing = looked(patient, patient.archive.with_name("none"), Format.PLAIN)
    assert missing.status is Inside.UNREADABLE

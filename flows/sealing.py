"""Sealing, every hour: what is signed and witnessed can be rewritten by nobody unseen."""

from prefect import flow

from tasks.artifacts import show_head
from tasks.domain.errors import NotProven, RunbookError
from tasks.journal import declare_incident, record_success
from tasks.sealing import journal_is_sealed, seal_log, verify_sealed_journal
from tasks.work.sealed_logs import LogName
from tasks.work.successes import Work


@flow(name="sealing", flow_run_name="sealing", persist_result=False)
def sealing() -> str:
    """Have new records and new facts sealed, and prove both heads. May be run at any time.

    A log that cannot be sealed opens an incident, or is noted in the open one: until it is sealed
    again, what is new can be rewritten without a trace. One log does not hold up the other.
    """
    said = [seal_and_show(LogName.AUDIT)]
    if journal_is_sealed():
        said.append(seal_and_show(LogName.JOURNAL))
    return "; ".join(said)


def seal_and_show(name: LogName) -> str:
    """Seal one log; what came of it."""
    try:
        head = seal_log(name)
        if name is LogName.JOURNAL:
            verify_sealed_journal()
    except RunbookError as error:
        return report_failure(name, error)
    if name is LogName.AUDIT:
        record_success(Work.SEALING)
    show_head(name, head.checkpoint, head.added, head.witnesses)
    return f"{name}: {head.checkpoint.size} sealed, {head.added} new"


def report_failure(name: LogName, error: RunbookError) -> str:
    """Open an incident, or join the open one."""
    what = "refused" if isinstance(error, NotProven) else "not possible"
    found = f"Sealing of the {name} log: {what} ({type(error).__name__})"
    if name is LogName.AUDIT:
        incident, is_new = declare_incident(found, "audit-trail", "audit_trail")
    else:
        incident, is_new = declare_incident(found, "journal", "triage")
    return f"{name}: {what}: {incident} {'was opened' if is_new else 'is open already'}"

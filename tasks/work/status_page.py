"""The status page: the runbook drafts, a person approves, and what was approved becomes public."""

from datetime import UTC, datetime

from tasks.clients import statuspage
from tasks.clients.errors import ClientError, Transient
from tasks.domain.errors import BadInput, NotApproved
from tasks.domain.facts import Fact, FactKind
from tasks.domain.incident import Incident
from tasks.domain.messages import Moment
from tasks.domain.roles import Act
from tasks.domain.severity import Severity
from tasks.domain.status_drafts import STATUS_PAGE, Draft, draft, is_public, receipt_of, standings
from tasks.settings import settings
from tasks.work import journal, status_files, telling
from tasks.work.floor import floor
from tasks.work.people import Person

_PUBLIC = frozenset({Severity.P0, Severity.P1})


def draft_for(incident: str, moment: Moment) -> Draft | None:
    """Draft what the public would read, once a moment; None where there is nothing to say.

    An incident begins to be public by its severity, P0 or P1; later moments follow only what was
    published. Without a page nothing is drafted.
    """
    if not settings().status_page.is_kept:
        return None
    state = journal.read(incident)
    begins = moment is Moment.OPENED
    if not (state.severity in _PUBLIC if begins else is_public(state)):
        return None
    return _drafted(journal.append(incident, *_fact_of(state, moment), key=_key(moment)))


def ask_for_draft(incident: str, person: Person, moment: Moment) -> Fact:
    """A person wants the public told of this moment; the words are the runbook's.

    Of updates there may be many, of every other moment the first one stays.

    Raises NotPermitted, NoSuchIncident, or BadInput where no page is kept.
    """
    _require_page()
    with floor(incident, person, Act.PUBLISH) as speaker:
        key = None if moment is Moment.UPDATE else _key(moment)
        return speaker.say(*_fact_of(speaker.state, moment), key=key)


def approve(incident: str, person: Person, draft_hash: str) -> Fact:
    """A person's word that exactly this draft becomes public; it is published at once.

    Saying it again orders it again where the page had not taken it. Raises NotPermitted,
    NoSuchIncident, BadInput for no draft of that hash, or NotApproved when a later one is public.
    """
    _require_page()
    with floor(incident, person, Act.PUBLISH) as speaker:
        known = standings(speaker.state)
        wanted = next((one for one in known if one.draft.hash == draft_hash), None)
        if wanted is None:
            raise BadInput(
                f"expected the hash of a draft of {incident}, found {draft_hash[:80]!a}: see "
                f"`runbook status-page {incident}`"
            )
        later = known[known.index(wanted) + 1 :]
        if any(one.approved_at is not None for one in later):
            raise NotApproved(
                f"expected the newest draft of {incident}, found an older one: a later one is "
                "approved, and this would put the page back"
            )
        data = {"hash": draft_hash}
        fact = speaker.say(FactKind.STATUS_APPROVED, data, key=f"status-approved:{draft_hash}")
        failures = sum(each.kind is FactKind.NOTIFY_FAILED for each in speaker.state.facts)
        speaker.escalate(f"{wanted.step}.{failures}")
        return fact


def publish(incident: str, step: str, *, last_try: bool) -> bool:
    """Make an approved draft public; False when the page did not take it, which is a fact then.

    Raises Transient unless this is the last try.
    """
    state = journal.read(incident)
    wanted = next((one for one in standings(state) if one.step == step), None)
    if wanted is None or wanted.approved_at is None or wanted.receipt is not None:
        return wanted is not None and wanted.receipt is not None
    said = {"channel": STATUS_PAGE, "audience": "customers", "hash": wanted.draft.hash}
    data = {**said, "via": STATUS_PAGE, "moment": step}
    try:
        receipt = _put(state, wanted.draft)
    except (ClientError, BadInput) as error:
        if isinstance(error, Transient) and not last_try:
            telling.wait_as_asked(error)
            raise
        journal.append(incident, FactKind.NOTIFY_FAILED, data | {"error": str(error)[:500]})
        return False
    told = data | {"summary": wanted.draft.subject, "receipt": receipt}
    journal.append(incident, FactKind.NOTIFIED, told, key=f"told:{step}")
    return True


def _put(state: Incident, approved: Draft) -> str:
    page = settings().status_page
    if page.page_id:
        return statuspage.publish(page, approved, receipt_of(state))
    if page.directory is not None:
        return status_files.publish(page.directory, approved, datetime.now(UTC))
    raise BadInput("expected a status page, found none in the settings: see RUNBOOK_STATUS_PAGE")


def _fact_of(state: Incident, moment: Moment) -> tuple[FactKind, dict[str, dict[str, str]]]:
    return FactKind.STATUS_DRAFTED, {"draft": draft(state, moment, datetime.now(UTC)).as_json()}


def _drafted(fact: Fact) -> Draft:
    return Draft.from_json(fact.data.get("draft"))


def _key(moment: Moment) -> str:
    return f"status-drafted:{moment}"


def _require_page() -> None:
    if not settings().status_page.is_kept:
        raise BadInput(
            "expected a status page, found none: set RUNBOOK_STATUS_PAGE__DIRECTORY or "
            "RUNBOOK_STATUS_PAGE__PAGE_ID"
        )

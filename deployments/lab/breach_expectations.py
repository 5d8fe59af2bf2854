"""What must be true after a suspected breach: held, sealed, told, and cut off by people's word."""

import psycopg

from deployments.lab.cluster_expectations import names_the_cause
from deployments.lab.expectations import Check, Situation
from deployments.lab.kubernetes.manifests import API
from deployments.lab.patient import DATABASE
from deployments.lab.whereabouts import places_of_canaries
from tasks.clients.object_store import ObjectStore
from tasks.domain.contacts import Contact
from tasks.domain.custody import CustodyHead
from tasks.domain.facts import Fact, FactKind
from tasks.domain.holds import EVERYTHING
from tasks.domain.incident import Stage
from tasks.domain.isolation import (
    ACCOUNTS,
    INCIDENT_LABEL,
    NETWORK,
    POLICY_NAME,
    SESSIONS,
)
from tasks.domain.ledger import NoteSigner
from tasks.settings import settings
from tasks.work.bag_files import StoredBag
from tasks.work.bag_verification import Proven, verify_bag

_TOLD_SECONDS = 60.0
_SEALED_SECONDS = 30.0
_TWO = 2
_CAN_LOG_IN = "SELECT rolcanlogin FROM pg_roles WHERE rolname = %s"
_SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE usename = %s"


def of_credential_stuffing(now: Situation) -> list[Check]:
    """The API's pods are cut off, the address is named and no account that it tried."""
    return [*_of_each(now), _named(now), _cut_off(now)]


def of_data_exfiltration(now: Situation) -> list[Check]:
    """The account is locked and its session is ended."""
    return [*_of_each(now), _cut_off(now), *_locked(now)]


def of_insider_tampering(now: Situation) -> list[Check]:
    """The same, and what was rewritten is known exactly; nothing is repaired over the evidence."""
    verdicts = _facts(now, FactKind.DIAGNOSED)
    altered = verdicts[-1].data["altered"] if verdicts else 0
    return [
        *_of_each(now),
        _cut_off(now),
        *_locked(now),
        Check(
            "our own proof says how many records were rewritten, whatever the API says",
            altered == len(now.damage.modified),
            f"{altered} of {len(now.damage.modified)}",
        ),
    ]


def of_evidence_store_down(now: Situation) -> list[Check]:
    """Held while the store was away, and nothing asked of anybody before evidence was sealed."""
    back = now.on_call.mended_at
    held, sealed = _held(now), _sealed(now)
    waited = (
        back is not None and held is not None and sealed is not None and held.at < back < sealed.at
    )
    return [
        *_of_each(now, sealed_seconds=None),
        _cut_off(now),
        Check("it was held before the store was back, and sealed after that", waited),
    ]


def _of_each(now: Situation, sealed_seconds: float | None = _SEALED_SECONDS) -> list[Check]:
    held, sealed = _held(now), _sealed(now)
    looked, asked = _facts(now, FactKind.CHECK_OBSERVED), _facts(now, FactKind.PLAN_PROPOSED)
    begun = _facts(now, FactKind.STEP_STARTED)
    steps = {str(fact.data["step"]) for fact in begun}
    told = [
        fact
        for fact in _facts(now, FactKind.NOTIFIED)
        if fact.data.get("contact") == Contact.SECURITY_TEAM
    ]
    seconds = (told[0].at - held.at).total_seconds() if told and held else None
    approvers = {made.by for made in now.incident.decisions}
    canaries = places_of_canaries(now.lab, also=now.damage.names)
    checks = [
        names_the_cause(now),
        Check(
            "every change was held before anything was looked at",
            held is not None and bool(looked) and held.seq < looked[0].seq,
        ),
        Check(
            "evidence was sealed before anybody was asked, and nothing was changed before that",
            sealed is not None
            and bool(asked)
            and sealed.seq < asked[0].seq
            and all(sealed.seq < fact.seq for fact in begun),
        ),
        _bag_is_whole(sealed),
        Check(
            "security was told at once",
            seconds is not None and seconds < _TOLD_SECONDS,
            "never" if seconds is None else f"{seconds:.1f} s after the hold",
        ),
        Check("two people have approved", len(approvers) >= _TWO, f"{len(approvers)} have"),
        Check(
            "nothing but the isolation was changed",
            bool(steps) and steps <= {NETWORK, ACCOUNTS, SESSIONS},
            ", ".join(sorted(steps)) or "nothing was",
        ),
        Check(
            "it waits for a person, and does not close itself",
            now.incident.stage is not Stage.CLOSED,
            now.incident.stage.value,
        ),
        Check(
            "no canary of the records, and no account that was tried, is found in what we keep",
            not canaries,
            ", ".join(canaries[:5]),
        ),
    ]
    if sealed_seconds is not None:
        took = (sealed.at - held.at).total_seconds() if sealed and held else None
        checks.append(
            Check(
                f"all evidence was sealed within {sealed_seconds:.0f} s of the hold",
                took is not None and took < sealed_seconds,
                "never" if took is None else f"{took:.1f} s",
            )
        )
    return checks


def _bag_is_whole(sealed: Fact | None) -> Check:
    """As an auditor looks: every file, the signature, the custody log up to its anchor."""
    what = "the bag of evidence is whole, signed, and all of its items are encrypted"
    if sealed is None:
        return Check(what, holds=False, found="there is none")
    known = settings()
    store = ObjectStore(known.store)
    key = known.responder.read_signing_key().get_secret_value()
    custody = sealed.data["custody"]
    verdict = verify_bag(
        StoredBag(store, str(sealed.data["bucket"]), str(sealed.data["bag"])),
        [NoteSigner.parse(key).verifier],
        [CustodyHead(int(custody["entries"]), str(custody["hash"]))],
    )
    store.close()
    encrypted = all(each.encrypted for each in verdict.collected)
    skipped = ", ".join(each.id for each in verdict.skipped)
    return Check(
        what,
        verdict.proven is Proven.WHOLE and encrypted and bool(verdict.collected),
        f"{len(verdict.collected)} items, {verdict.size:,} bytes, {verdict.entries} custody "
        f"entries; skipped with a reason: {skipped}; problems: {len(verdict.problems)}",
    )


def _named(now: Situation) -> Check:
    actors = [
        str(actor["actor"])
        for fact in _facts(now, FactKind.CHECK_OBSERVED)
        for actor in fact.data.get("evidence", {}).get("actors", ())
    ]
    return Check(
        "the address that was let in is named", now.damage.address in actors, ", ".join(actors)
    )


def _cut_off(now: Situation) -> Check:
    policies = now.lab.cluster_life.cluster.items("networkpolicies")
    ours = [
        each
        for each in policies
        if each["metadata"]["name"] == POLICY_NAME
        and each["metadata"]["labels"].get(INCIDENT_LABEL) == now.incident.id
        and each["spec"]["podSelector"] == {"matchLabels": {"app": API}}
        and set(each["spec"]["policyTypes"]) == {"Ingress", "Egress"}
    ]
    return Check("a NetworkPolicy of this incident cuts the API's pods off", len(ours) == 1)


def _locked(now: Situation) -> list[Check]:
    account = now.damage.account
    with now.lab.patient.connect() as connection:
        (may,) = connection.execute(_CAN_LOG_IN, (account,)).fetchone() or (None,)
        (left,) = connection.execute(_SESSIONS, (account,)).fetchone() or (None,)
    return [
        Check(f"the role {account} may not log in", may is False and not _gets_in(now)),
        Check("none of its sessions is left", left == 0, f"{left} are"),
    ]


def _gets_in(now: Situation) -> bool:
    """Whether the account's own password still opens the database."""
    try:
        with psycopg.connect(now.lab.patient.dsn(now.damage.account, DATABASE)):
            return True
    except psycopg.OperationalError:
        return False


def _held(now: Situation) -> Fact | None:
    return next((f for f in _facts(now, FactKind.HOLD_SET) if f.data["scope"] == EVERYTHING), None)


def _sealed(now: Situation) -> Fact | None:
    return next(
        (f for f in _facts(now, FactKind.EVIDENCE_SEALED) if f.data["scope"] == EVERYTHING), None
    )


def _facts(now: Situation, kind: FactKind) -> list[Fact]:
    return [fact for fact in now.incident.facts if fact.kind is kind]

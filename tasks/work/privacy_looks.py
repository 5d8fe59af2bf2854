"""What the privacy engine says, what its log proves and what its noise is like: one look.

Everything is asked at once; what does not answer says why.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from typing import Any, TypeVar

from tasks.clients import privacy_engine, prometheus
from tasks.clients.errors import ClientError
from tasks.domain.alertmanager import clean
from tasks.domain.database_readings import Unread, known
from tasks.domain.errors import BadInput
from tasks.domain.facts import FactKind
from tasks.domain.privacy_anonymisation import Anonymity, Floors, look_at
from tasks.domain.privacy_blocks import Retirement, spending_on
from tasks.domain.privacy_limits import PrivacyLimits
from tasks.domain.privacy_noise import FIRST_PROBE, SECOND_PROBE, Probe, Verdict, judge
from tasks.domain.privacy_plan import RESET
from tasks.domain.privacy_readings import (
    Budget,
    Noise,
    Parameters,
    PrivacyReadings,
    Spending,
    read_budget,
    read_parameters,
    read_probe,
    read_published,
    read_remaining,
)
from tasks.sections.privacy import PrivacySettings
from tasks.sections.systems import ApiSettings, MetricsSettings
from tasks.settings import Settings
from tasks.work import journal, privacy_ledger
from tasks.work.at_once import at_once
from tasks.work.privacy_ledger import Books, books_of
from tasks.work.targets import production_target

ENGINE_TARGET = "privacy-engine/budget"
"""What a new epoch changes, as plans, holds and locks name it."""

_REASON_LIMIT = 200
_SHORT_PROBE = 64

_Found = TypeVar("_Found")


@dataclass(frozen=True, slots=True)
class Site:
    """Whom we ask, and what must hold."""

    api: ApiSettings
    metrics: MetricsSettings
    privacy: PrivacySettings
    books: Books | Unread
    limits: PrivacyLimits
    floors: Floors = field(repr=False)


def site_of(settings: Settings) -> Site:
    """The site, from the settings."""
    privacy = settings.privacy
    return Site(
        api=settings.api,
        metrics=settings.metrics,
        privacy=privacy,
        books=_or_why(lambda: books_of(settings)),
        limits=PrivacyLimits(
            cap=Decimal(repr(privacy.block_epsilon)),
            delta=Decimal(repr(privacy.delta)),
            least_multiplier=Decimal(repr(privacy.least_multiplier)),
            k=privacy.k_anonymity,
            l=privacy.l_diversity,
            epoch_target=ENGINE_TARGET,
            ledger_target=production_target(),
        ),
        floors=Floors(
            quasi=privacy.quasi_identifiers,
            sensitive=privacy.sensitive,
            k=privacy.k_anonymity,
            l=privacy.l_diversity,
            canaries=tuple(each.get_secret_value() for each in privacy.canaries),
            direct=privacy.direct_identifiers,
        ),
    )


def looked_at(site: Site) -> PrivacyReadings:
    """Everything at once, over in the look's own time; what did not answer says why.

    Noise comes after it: to judge it needs libraries that take seconds to load.
    """
    looks: dict[str, Callable[[Site], object]] = {
        "remaining": _remaining,
        "parameters": parameters_of,
        "budget": _budget,
        "read": _books,
        "anonymity": _anonymity,
    }
    asked = at_once(
        {name: partial(_or_why, partial(look, site)) for name, look in looks.items()},
        site.privacy.seconds,
    )
    found: dict[str, Any] = {
        name: Unread(why(each)) if isinstance(each, ClientError) else each
        for name, each in asked.items()
    }
    parameters, read = known(found["parameters"]), found.pop("read")
    spending = _or_why(partial(_spending, site, read, parameters))
    return PrivacyReadings(spending=spending, noise=_or_why(partial(_noise, site)), **found)


def accounts_of(site: Site) -> PrivacyReadings:
    """Parameters, budget and spend alone: what a remedy of ours can have changed."""
    parameters, read = _or_why(partial(parameters_of, site)), _or_why(partial(_books, site))
    left_out = Unread("not looked at again")
    return PrivacyReadings(
        remaining=left_out,
        parameters=parameters,
        budget=_or_why(partial(_budget, site)),
        spending=_or_why(partial(_spending, site, read, known(parameters))),
        noise=left_out,
        anonymity=left_out,
    )


def _remaining(site: Site) -> Decimal:
    if not site.metrics.prometheus_url:
        raise BadInput("no Prometheus is configured")
    query = site.privacy.budget_query
    asked = prometheus.readings(
        site.metrics, {"left": query}, timeout_seconds=site.metrics.timeout_seconds
    )
    return read_remaining(asked["left"])


def parameters_of(site: Site) -> Parameters:
    """What the engine says of itself now."""
    return read_parameters(privacy_engine.config(site.api, site.privacy))


def _budget(site: Site) -> Budget:
    return read_budget(privacy_engine.budget(site.api, site.privacy))


def _books(site: Site) -> privacy_ledger.Read:
    return privacy_ledger.read(known_books(site.books))


def _noise(site: Site) -> Noise:
    """Two stages: a doubtful probe is followed by a larger one. A short one before tells a seed."""
    parameters = known(_or_why(partial(parameters_of, site)))
    before = _probe(site, _SHORT_PROBE, parameters)
    first = judge(_probe(site, FIRST_PROBE, parameters), before)
    if first.verdict is not Verdict.DOUBTFUL:
        return Noise(first)
    return Noise(first, judge(_probe(site, SECOND_PROBE, parameters), before))


def _probe(site: Site, samples: int, parameters: Parameters | None) -> Probe:
    probe = read_probe(privacy_engine.probe(site.api, site.privacy, samples), parameters)
    if len(probe.samples) != samples:
        raise BadInput(f"expected {samples} samples of the probe, found {len(probe.samples)}")
    return probe


def _anonymity(site: Site) -> Anonymity:
    said = privacy_engine.published(site.api, site.privacy)
    return look_at(read_published(said, site.privacy.sample), site.floors)


def _spending(
    site: Site, read: privacy_ledger.Read | Unread, parameters: Parameters | None
) -> Spending | Unread:
    if isinstance(read, Unread):
        return read
    return spending_of(site, read, parameters, known(_or_why(_retired_by_us)))


def spending_of(
    site: Site,
    read: privacy_ledger.Read,
    parameters: Parameters | None,
    retired: Mapping[str, int] | None = None,
) -> Spending:
    """The ledger against the log, and what each block that is still in use has cost.

    `retired`: what we had retired, and the last record of the log then; None when that is not
    known.
    """
    delta = parameters.delta if parameters is not None else None
    guaranteed = min(delta, site.limits.delta) if delta else site.limits.delta
    return spending_on(
        read.releases,
        read.charges,
        read.reconciled(),
        Retirement(None if parameters is None else parameters.retired, retired),
        guaranteed,
        site.limits,
        read.unreadable,
    )


def _retired_by_us() -> dict[str, int]:
    """From the journal of every incident; a block that was retired twice, from the first time."""
    found: dict[str, int] = {}
    for fact in journal.facts_of_kinds((FactKind.STEP_DONE,)):
        result = fact.data.get("result")
        if fact.data.get("step") != RESET or not isinstance(result, dict):
            continue
        for name in result.get("blocks", ()):
            found.setdefault(str(name), int(result["until"]))
    return found


def known_books(books: Books | Unread) -> Books:
    """Raises BadInput with why they could not be opened."""
    if isinstance(books, Unread):
        raise BadInput(books.reason)
    return books


def _or_why(look: Callable[[], _Found]) -> _Found | Unread:
    try:
        return look()
    except (ClientError, BadInput, ArithmeticError) as error:
        return Unread(why(error))


def why(error: Exception) -> str:
    """What an error says, printable and bounded."""
    return clean(str(error), _REASON_LIMIT)

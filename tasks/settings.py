"""Every setting of ours: one frozen tree, read from `RUNBOOK_*` once; a bad value fails at start.

Nested names are joined by two underscores: `RUNBOOK_DATABASE__READER_DSN`. Secrets are SecretStr
and come from the environment (or from Prefect blocks that prefect.yaml injects into it). The groups
are in `tasks/sections/`.
"""

from functools import lru_cache

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from tasks.domain.errors import BadInput
from tasks.sections.breach import BreachSettings
from tasks.sections.capacity import EmergencySettings, RollbackSettings, ScalingSettings
from tasks.sections.communication import (
    ContactSettings,
    PagerDutySettings,
    ReachSettings,
    RosterSettings,
    StatusPageSettings,
)
from tasks.sections.components import (
    ApiCareSettings,
    CacheCareSettings,
    DatabaseCareSettings,
    EvidenceSettings,
    LokiSettings,
    StorageCareSettings,
)
from tasks.sections.dask import DaskSettings
from tasks.sections.house import (
    ChangeSettings,
    ChatSettings,
    GatewaySettings,
    LedgerSettings,
    ResponderSettings,
    SealerSettings,
)
from tasks.sections.privacy import PrivacySettings
from tasks.sections.privacy_incidents import PrivacyIncidentSettings
from tasks.sections.systems import (
    AlertmanagerSettings,
    ApiSettings,
    CacheSettings,
    DatabaseSettings,
    KubernetesSettings,
    MetricsSettings,
    StoreSettings,
)


class Settings(BaseSettings):
    """The tree. `lab` is set by the embedded stack alone: `--yes` works only there."""

    model_config = SettingsConfigDict(
        env_prefix="RUNBOOK_",
        env_nested_delimiter="__",
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,  # a value in the wrong place may be a secret
    )

    lab: bool = Field(
        default=False, description="True only in the embedded stack, by the lab itself."
    )
    api: ApiSettings = ApiSettings()
    api_care: ApiCareSettings = ApiCareSettings()
    database: DatabaseSettings = DatabaseSettings()
    database_care: DatabaseCareSettings = DatabaseCareSettings()
    kubernetes: KubernetesSettings = KubernetesSettings()
    storage_care: StorageCareSettings = StorageCareSettings()
    cache: CacheSettings = CacheSettings()
    cache_care: CacheCareSettings = CacheCareSettings()
    scaling: ScalingSettings = ScalingSettings()
    emergency: EmergencySettings = EmergencySettings()
    rollback: RollbackSettings = RollbackSettings()
    privacy: PrivacySettings = PrivacySettings()
    privacy_incident: PrivacyIncidentSettings = PrivacyIncidentSettings()
    breach: BreachSettings = BreachSettings()
    metrics: MetricsSettings = MetricsSettings()
    loki: LokiSettings = LokiSettings()
    alertmanager: AlertmanagerSettings = AlertmanagerSettings()
    store: StoreSettings = StoreSettings()
    evidence: EvidenceSettings = EvidenceSettings()
    ledger: LedgerSettings = LedgerSettings()
    dask: DaskSettings = DaskSettings()
    sealer: SealerSettings = SealerSettings()
    responder: ResponderSettings = ResponderSettings()
    chat: ChatSettings = ChatSettings()
    contacts: ContactSettings = ContactSettings()
    roster: RosterSettings = RosterSettings()
    pagerduty: PagerDutySettings = PagerDutySettings()
    reach: ReachSettings = ReachSettings()
    status_page: StatusPageSettings = StatusPageSettings()
    gateway: GatewaySettings = GatewaySettings()
    changes: ChangeSettings = ChangeSettings()


@lru_cache(maxsize=1)
def settings() -> Settings:
    """The process's settings, read once from the environment.

    Raises BadInput that names the variables, never their values.
    """
    try:
        return Settings()
    except ValidationError as error:
        wrong = [
            f"RUNBOOK_{'__'.join(str(part) for part in one['loc']).upper()}: {one['msg']}"
            for one in error.errors(include_input=False, include_url=False)
        ]
        raise BadInput(f"expected valid settings, found {'; '.join(wrong)}") from error
    except SettingsError as error:
        raise BadInput(f"expected valid settings: {error}") from error

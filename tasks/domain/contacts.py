"""The roles of the runbook's "Emergency Contacts": whom an incident may call, by their office."""

from enum import StrEnum


class Contact(StrEnum):
    """A role; each is a field of the contacts in the settings, which say who fills it."""

    ON_CALL = "on_call"
    ENGINEERING_LEAD = "engineering_lead"
    INCIDENT_COMMANDER = "incident_commander"
    EXECUTIVE_TEAM = "executive_team"
    SECURITY_TEAM = "security_team"
    COMPLIANCE_OFFICER = "compliance_officer"
    DPO = "dpo"
    DPO_DEPUTY = "dpo_deputy"
    EXTERNAL_SUPPORT = "external_support"
    SECURITY_VENDOR = "security_vendor"
    LEGAL_COUNSEL = "legal_counsel"
    REGULATORS = "regulators"
    AUDITORS = "auditors"

    @property
    def is_external(self) -> bool:
        """Whether they are outside the house: they never join the incident's channel."""
        return self in _EXTERNAL


_EXTERNAL = frozenset(
    {
        Contact.EXTERNAL_SUPPORT,
        Contact.SECURITY_VENDOR,
        Contact.LEGAL_COUNSEL,
        Contact.REGULATORS,
        Contact.AUDITORS,
    }
)


def known(name: str) -> Contact | None:
    """The role of that name; None for a recipient that only a fact names."""
    return Contact(name) if name in set(Contact) else None

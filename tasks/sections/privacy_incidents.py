"""Settings of a data privacy incident: where personal data lies, what is assumed, whom to tell."""

from typing import Annotated, Self

from pydantic import Field, SecretStr, model_validator

from tasks.domain.circumstances import Circumstances, degree_of, ease_of, identifier_of
from tasks.domain.enisa import Category
from tasks.domain.errors import BadInput
from tasks.domain.regimes import shipped
from tasks.sections.base import Section

_COLUMN = r"^[a-zA-Z_][a-zA-Z0-9_]{0,62}$"
_COLUMN_OR_NONE = r"^([a-zA-Z_][a-zA-Z0-9_]{0,62})?$"
_PATH = r"^[A-Za-z0-9_-]{1,64}(\.[A-Za-z0-9_-]{1,64}){0,7}$"
_Word = Annotated[str, Field(min_length=1, max_length=40)]


class PersonalTable(Section):
    """A table with personal data. Categories: simple, behavioural, financial, sensitive."""

    name: str = Field(
        pattern=r"^[a-zA-Z_][a-zA-Z0-9_]{0,62}\.[a-zA-Z_][a-zA-Z0-9_]{0,62}$",
        description="With its schema.",
    )
    time: str = Field(pattern=_COLUMN, description="When a row came in.")
    person: str = Field("", pattern=_COLUMN_OR_NONE, description="Whose it is; empty: nobody's.")
    categories: tuple[_Word, ...] = Field(min_length=1, max_length=4)


class PersonalLog(Section):
    """What of the audit log is personal data: paths in the event."""

    time: str = Field("timestamp", pattern=_PATH, description="When it happened.")
    person: str = Field("data.annotator", pattern=_PATH, description="Whose data it is.")
    category: _Word = Field("behavioural", description="Of every event that names somebody.")
    named_by: dict[str, _Word] = Field(
        {
            "annotator": "code or alias",
            "annotator_email": "e-mail",
            "email": "e-mail",
            "name": "name",
            "phone": "phone or address",
        },
        max_length=50,
        description="Fields of the event by which a person may be recognised, and as what.",
    )
    sensitive: tuple[str, ...] = Field(
        ("prompt",), max_length=50, description="Fields of free text: they may say anything."
    )


class PrivacyIncidentSettings(Section):
    """A data privacy incident: its scope, what is assumed of it, and who must hear of it."""

    regimes: tuple[str, ...] = Field(
        ("gdpr",), max_length=20, description="Of tasks/domain/regimes.toml: whose clocks run."
    )
    tables: tuple[PersonalTable, ...] = Field(
        (
            PersonalTable(
                name="public.annotations",
                time="created_at",
                person="annotator",
                categories=("behavioural",),
            ),
            PersonalTable(
                name="public.privacy_budgets",
                time="updated_at",
                person="annotator",
                categories=("simple",),
            ),
        ),
        max_length=50,
        description="Beside the audit log.",
    )
    log: PersonalLog = PersonalLog()
    days_before: float = Field(
        0.0,
        ge=0,
        le=3650,
        description="So long before the onset data counts as exposed; 0: all of it, the worst.",
    )
    most_records: int = Field(
        500_000, ge=100, le=50_000_000, description="Of the log, newest first; then: at least."
    )
    most_people: int = Field(1_000_000, ge=100, le=50_000_000, description="The same of a table.")
    seconds: float = Field(
        30.0, gt=0, le=600, description="Of each statement, and of reading the log."
    )
    pseudonym_key: SecretStr = Field(
        SecretStr(""), description="Of the keyed hash of people's ids; empty: a new one each time."
    )
    confidentiality: _Word = Field("unknown or public", description="Assumed until decided.")
    integrity: _Word = Field("no wrong use", description="Assumed until decided.")
    availability: _Word = Field("easily recovered", description="Assumed until decided.")
    malicious: bool = Field(default=False, description="Assumed until decided.")
    ease: dict[str, _Word] = Field(
        {
            "name": "limited",
            "ID number": "negligible",
            "phone or address": "limited",
            "e-mail": "significant",
            "picture": "significant",
            "code or alias": "negligible",
        },
        description="How easily each identifier names a person: assumed until decided.",
    )
    halt_releases: bool = Field(
        default=True, description="Refuse every release at once: that stops, and destroys nothing."
    )
    dpo_contact: str = Field("", max_length=200, description="For notices; empty: UNKNOWN.")
    entity: str = Field("", max_length=200, description="Name and LEI, for notices.")
    system: str = Field("", max_length=200, description="The system and its version, for notices.")

    def circumstances(self) -> Circumstances:
        """What is assumed until a person decides. Raises BadInput."""
        return Circumstances.from_json(
            {
                "confidentiality": self.confidentiality,
                "integrity": self.integrity,
                "availability": self.availability,
                "malicious": self.malicious,
                "ease": self.ease,
            }
        )

    @model_validator(mode="after")
    def _means_something(self) -> Self:
        try:
            shipped().of(self.regimes)
            self.circumstances()
            for each, ease in self.ease.items():
                ease_of(identifier_of(each), ease)
            for each in self.log.named_by.values():
                identifier_of(each)
            for table in self.tables:
                for category in table.categories:
                    degree_of(Category, category)
            degree_of(Category, self.log.category)
        except BadInput as error:
            raise ValueError(str(error)) from error
        return self

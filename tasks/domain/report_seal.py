"""What is signed of a report: the digests of its three forms, and of the facts behind it.

A C2SP signed note. Its text, a line each:

    rlhf-audit-runbook/report-seal/1
    incident <id>
    html sha256:<hex>
    pdf sha256:<hex>
    json sha256:<hex>
    facts <count> sha256:<hex>

Who holds the three files, the note and the responder's public key proves them without us.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from types import MappingProxyType

from tasks.domain.errors import BadInput
from tasks.domain.ledger import NoteSigner, NoteVerifier
from tasks.domain.ledger.note_keys import NoteError, NoteSignatureError
from tasks.domain.ledger.notes import note_text, sign_note, signatures
from tasks.domain.untrusted import visible

FIRST_LINE = "rlhf-audit-runbook/report-seal/1"
FORMS = ("html", "pdf", "json")
_INCIDENT = re.compile(r"incident ([A-Za-z0-9][A-Za-z0-9._-]{0,119})")
_FORM = re.compile(r"(html|pdf|json) sha256:([0-9a-f]{64})")
_FACTS = re.compile(r"facts (0|[1-9][0-9]{0,17}) sha256:([0-9a-f]{64})")
_LINES = 6


def version_name(sha256: str, form: str) -> str:
    """Where, below its incident's directory, a version stays when a later one took its name."""
    return f"versions/{sha256}.{form}"


@dataclass(frozen=True, slots=True)
class ReportSeal:
    """The text of the note. `digests` are hex SHA-256 by form."""

    incident: str
    digests: Mapping[str, str]
    facts: int
    facts_digest: str

    def text(self) -> str:
        """As it is signed."""
        lines = [FIRST_LINE, f"incident {self.incident}"]
        lines += [f"{form} sha256:{self.digests[form]}" for form in FORMS]
        lines.append(f"facts {self.facts} sha256:{self.facts_digest}")
        return "\n".join(lines) + "\n"

    def signed(self, signer: NoteSigner) -> str:
        """The note."""
        return sign_note(self.text(), signer)

    @classmethod
    def read(cls, text: str) -> "ReportSeal":
        """From the text of a note. Raises BadInput when it is of anything else."""
        lines = text.removesuffix("\n").split("\n")
        if len(lines) != _LINES or lines[0] != FIRST_LINE:
            raise BadInput(
                f"expected the seal of a report, {FIRST_LINE}, found {visible(lines[0], 80)!r}"
            )
        incident = _INCIDENT.fullmatch(lines[1])
        forms = [_FORM.fullmatch(line) for line in lines[2:5]]
        facts = _FACTS.fullmatch(lines[5])
        digests = {found[1]: found[2] for found in forms if found}
        if incident is None or facts is None or tuple(digests) != FORMS:
            raise BadInput("expected a report's seal with incident, html, pdf, json and facts")
        return cls(incident[1], MappingProxyType(digests), int(facts[1]), facts[2])


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a seal proves. `problems` empty: every file that is there is as sealed.

    `signer` is the trusted key that signed; empty where none was given: then only digests were
    compared, and whoever wrote the files may have written the seal.
    """

    seal: ReportSeal
    signer: str
    proven: tuple[str, ...]
    absent: tuple[str, ...]
    problems: tuple[str, ...]


def sealed_digests(note: str) -> Mapping[str, str]:
    """Hex SHA-256 by form, as the note says and nobody has proven. Raises BadInput for no seal."""
    return _seal_in(note).digests


def _seal_in(note: str) -> ReportSeal:
    try:
        return ReportSeal.read(note_text(note))
    except NoteError as error:
        raise BadInput(f"expected the signed note of a report, found none: {error}") from error


def verify(note: str, files: Mapping[str, bytes], trusted: Iterable[NoteVerifier]) -> Verdict:
    """Compare files (bytes by form) with their seal. Raises BadInput when the note is no seal."""
    keys = list(trusted)
    seal = _seal_in(note)
    problems: list[str] = []
    signers: list[str] = []
    try:
        signers = [str(each.verifier) for each in signatures(note, keys)]
    except NoteSignatureError as error:
        problems.append(str(error))
    except NoteError as error:
        raise BadInput(f"expected the signed note of a report: {error}") from error
    if keys and not signers and not problems:
        wanted = ", ".join(sorted(str(each) for each in keys))
        problems.append(f"expected a signature by one of [{wanted}], found none")
    if not files:
        problems.append("expected the HTML, the PDF or the JSON beside the seal, found none")
    proven, absent = [], []
    for form in FORMS:
        if form not in files:
            absent.append(form)
            continue
        found = sha256(files[form]).hexdigest()
        if found == seal.digests[form]:
            proven.append(form)
        else:
            problems.append(f"{form}: expected sha256 {seal.digests[form]}, found {found}")
    return Verdict(
        seal=seal,
        signer=", ".join(signers),
        proven=tuple(proven),
        absent=tuple(absent),
        problems=tuple(problems),
    )

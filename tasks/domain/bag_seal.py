"""What is signed of a bag of evidence: its two manifests and where its custody log ends.

The note (C2SP signed note, Ed25519) is the bag's last file but a time stamp over it,
`signatures/bag.note`. No manifest lists it, for it covers them. It names the public key, so that a
reader can look for it; whether that key counts, he must know from elsewhere.
"""

import re
from dataclasses import dataclass
from typing import Self

from tasks.domain.custody import CustodyHead
from tasks.domain.errors import BadInput
from tasks.domain.ledger import NoteSigner, sign_note

NOTE = "signatures/bag.note"
TIME_STAMP = "signatures/bag.tsr"
"""A time-stamp token over the note, where an authority has given one."""

_VERSION = "rlhf-audit-evidence-bag/v1"
_TEXT = re.compile(
    rf"{_VERSION}\nincident ([!-~]{{1,200}})\nbag ([!-~]{{1,200}})\n"
    r"manifest-sha256 ([0-9a-f]{64})\ntagmanifest-sha256 ([0-9a-f]{64})\n"
    r"custody ([1-9][0-9]{0,11}) ([0-9a-f]{64})\nkey ([^\s]{1,300})\n"
)


@dataclass(frozen=True, slots=True)
class BagSeal:
    """The signed text: digests in hex, the head of the custody log, the key's public half."""

    incident: str
    bag: str
    manifest: str
    tag_manifest: str
    custody: CustodyHead
    key: str

    @property
    def text(self) -> str:
        """What is signed. BadInput when a name has other than visible ASCII."""
        text = (
            f"{_VERSION}\nincident {self.incident}\nbag {self.bag}\n"
            f"manifest-sha256 {self.manifest}\ntagmanifest-sha256 {self.tag_manifest}\n"
            f"custody {self.custody.entries} {self.custody.hash}\nkey {self.key}\n"
        )
        if _TEXT.fullmatch(text) is None:
            raise BadInput(f"expected names of visible ASCII, found {self.incident[:80]!a}")
        return text

    def signed(self, signer: NoteSigner) -> str:
        """The note of the signer, who must be the one that the text names."""
        if signer.verifier.encoded != self.key:
            raise BadInput(f"expected to sign with the key {self.key}, found {signer.name}")
        return sign_note(self.text, signer)

    @classmethod
    def read(cls, text: str) -> Self:
        """From the text of a note. BadInput for any other text."""
        found = _TEXT.fullmatch(text)
        if found is None:
            raise BadInput(f"expected the signed text of a bag, found {text[:80]!a}")
        incident, bag, manifest, tags, entries, head, key = found.groups()
        return cls(incident, bag, manifest, tags, CustodyHead(int(entries), head), key)

"""People as keyed hashes: counted and compared, never named."""

import hashlib
import secrets
from dataclasses import dataclass, field

_BYTES = 16
_LEAST_KEY = 16


@dataclass(slots=True)
class Pseudonyms:
    """A set of people under one key; the ids are forgotten as they are added.

    Without a key of at least 16 bytes a random one is used: then sets of two measurements cannot
    be compared, and there is no fingerprint.
    """

    key: bytes = field(repr=False)
    _seen: set[bytes] = field(default_factory=set, repr=False)
    is_comparable: bool = True

    @classmethod
    def under(cls, key: str) -> "Pseudonyms":
        """An empty set under the key of the settings."""
        given = key.encode(errors="surrogatepass")
        if len(given) < _LEAST_KEY:
            return cls(secrets.token_bytes(32), is_comparable=False)
        return cls(hashlib.sha256(given).digest())

    def add(self, person: str) -> bytes:
        """Take somebody in; their pseudonym."""
        name = person.encode(errors="surrogatepass")
        found = hashlib.blake2b(name, digest_size=_BYTES, key=self.key).digest()
        self._seen.add(found)
        return found

    def __len__(self) -> int:
        return len(self._seen)

    @property
    def fingerprint(self) -> str:
        """Of the whole set, the same for the same people and key; it names nobody."""
        if not self.is_comparable:
            return ""
        return hashlib.sha256(b"".join(sorted(self._seen))).hexdigest()[:32]

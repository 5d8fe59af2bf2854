"""Whether bytes begin an OpenPGP message (RFC 9580; RFC 4880 before it).

Only the first packet is looked at: what is inside is for the gpg program.
"""

_ARMOUR = b"-----BEGIN PGP MESSAGE-----"
_VERSION_OF = {
    1: frozenset({2, 3, 6}),  # a session key encrypted to a public key
    3: frozenset({4, 5, 6}),  # a session key encrypted by a passphrase
    4: frozenset({3, 6}),  # a signature to come
    8: frozenset({0, 1, 2, 3}),  # compressed: the algorithm
    18: frozenset({1, 2}),  # encrypted, integrity protected
    20: frozenset({1}),  # encrypted, GnuPG's AEAD
}
"""Tags with which a message begins, and what the first byte of the packet's body may be."""

_MARKER = b"\xca\x03PGP"
_LONGEST_KEY = 4096  # bytes of a packet that holds a key or announces a signature
_HOLDS_DATA = frozenset({8, 18, 20})


def begins_message(data: bytes) -> bool:
    """Whether these bytes (64 suffice) begin a message, in binary or in ASCII armour."""
    if data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(_ARMOUR):
        return True
    first = _packet(data.removeprefix(_MARKER))
    if first is None:
        return False
    tag, length, body = first
    if body not in _VERSION_OF.get(tag, frozenset()):
        return False
    return tag in _HOLDS_DATA or (length is not None and length <= _LONGEST_KEY)


def _packet(data: bytes) -> tuple[int, int | None, int] | None:
    """Tag, length (None: until the end, or in parts) and first body byte of the first packet."""
    if len(data) < 2 or not data[0] & 0x80:  # noqa: PLR2004  tag and length
        return None
    if data[0] & 0x40:
        tag = data[0] & 0x3F
        length, start = _new_length(data)
    else:
        tag = data[0] >> 2 & 0x0F
        octets = (1, 2, 4, 0)[data[0] & 3]
        length = int.from_bytes(data[1 : 1 + octets], "big") if octets else None
        start = 1 + octets
    return (tag, length, data[start]) if start < len(data) else None


def _new_length(data: bytes) -> tuple[int | None, int]:
    """Length, and where the body begins (RFC 9580, 4.2.1)."""
    first = data[1]
    if first < 192:  # noqa: PLR2004  the RFC's bounds
        return first, 2
    if first < 224:  # noqa: PLR2004
        return (first - 192 << 8) + int.from_bytes(data[2:3], "big") + 192, 3
    if first == 255:  # noqa: PLR2004
        return int.from_bytes(data[2:6], "big"), 6
    return None, 2

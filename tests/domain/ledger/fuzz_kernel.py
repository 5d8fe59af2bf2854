"""Random and hostile input for our C, compared with hashlib: a program for the sanitizers.

    python tests/domain/ledger/fuzz_kernel.py MODULE.so SECONDS

It loads nothing but the module, so that what a sanitizer reports is ours. Ends with status 1 at
the first difference.
"""

import contextlib
import importlib.util
import random
import struct
import sys
import time
from hashlib import sha256
from types import ModuleType


def load(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location("_kernel", path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{path} is no module")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def right(kernel: ModuleType, noise: random.Random) -> None:
    """Lines of any length, in a buffer that ends with the last of them."""
    lines = [noise.randbytes(noise.choice((0, 1, 54, 55, 63, 64, 118, 119, 435, 3000)))]
    lines += [noise.randbytes(noise.randrange(300)) for _ in range(noise.randrange(40))]
    text, spans = b"", b""
    for line in lines:
        spans += struct.pack("qq", len(text), len(text) + len(line))
        text += line
    leaves = kernel.leaf_hashes(text, spans)
    assert leaves == b"".join(sha256(b"\0" + line).digest() for line in lines)
    level = leaves[: len(leaves) // 64 * 64]
    nodes = [sha256(b"\1" + level[at : at + 64]).digest() for at in range(0, len(level), 64)]
    assert kernel.pair_hashes(level) == b"".join(nodes)
    starts = [line[:75] for line in lines[1:]]
    links = [
        b'{"_prev":"%b"' % leaves[at : at + 32].hex().encode() for at in range(0, len(leaves), 32)
    ]
    wrong = [at for at, start in enumerate(starts, 1) if start != links[at - 1]]
    assert kernel.first_unchained(text, spans, leaves) == (wrong[0] if wrong else -1)


def split(kernel: ModuleType, noise: random.Random) -> None:
    text = bytes(noise.choice(b"ab\n\n") for _ in range(noise.randrange(200)))
    spans, end = kernel.split(text, noise.randrange(50), noise.randrange(20))
    places = struct.unpack(f"{len(spans) // 8}q", spans)
    found = [text[first:last] for first, last in zip(places[::2], places[1::2], strict=True)]
    assert b"".join(line + b"\n" for line in found) == text[:end]


def rows(noise: random.Random) -> bytes:
    """Rows of a COPY, some bytes of them wrong."""
    row = b"\0\3\0\0\0\x08" + noise.randbytes(8) + b"\0\0\0\5abcde\xff\xff\xff\xff"
    sent = bytearray(row * noise.randrange(1, 5))
    for _ in range(noise.randrange(3)):
        sent[noise.randrange(len(sent))] = noise.choice((0, 1, 127, 128, 255))
    return bytes(sent[: noise.randrange(len(sent) + 1)])


def event(noise: random.Random) -> bytes:
    """A legacy event, perhaps with some bytes altered, repeated or left out."""
    sent = bytearray(
        b'{"data":{"_previous_hash":"%b","a":{"b":{"c":[1,2.5e-07],"d":[]}},"e":["x","y"],"f":-0.25}'
        b',"event_id":"i","event_type":"t","hash":"%b","merkle_proof":null,"session_id":"s"'
        b',"signature":"%b","timestamp":1700000000.5}' % (b"a" * 64, b"b" * 64, b"c" * 40)
    )
    for _ in range(noise.randrange(4)):
        at = noise.randrange(len(sent))
        sent[at : at + noise.randrange(3)] = noise.choice(
            (b"", b"{", b"[", b'"', b"\\", b"9", b"{" * 40)
        )
    return bytes(sent[: noise.choice((len(sent), noise.randrange(len(sent) + 1)))])


def hostile(kernel: ModuleType, noise: random.Random) -> None:
    """Spans of any kind: an answer or a ValueError, and never a byte beyond the buffers."""
    text = noise.randbytes(noise.randrange(100))
    places = [
        noise.choice((0, 1, -1, len(text), 2**62, noise.randrange(-5, 120))) for _ in range(6)
    ]
    spans = struct.pack("6q", *places)[: noise.choice((48, 48, 32, 47, 8, 0))]
    for call in (
        lambda: kernel.leaf_hashes(text, spans),
        lambda: kernel.first_unchained(text, spans, noise.randbytes(32 * noise.randrange(5))),
        lambda: kernel.pair_hashes(noise.randbytes(noise.randrange(200))),
        lambda: kernel.copy_rows(text, noise.randrange(-2, 6)),
        lambda: kernel.copy_rows(rows(noise), 3),
        lambda: kernel.read_event(event(noise)),
        lambda: kernel.read_event(text),
        lambda: kernel.split(text, noise.choice((-1, 0, 2**62)), noise.choice((-1, 0, 2**62))),
    ):
        with contextlib.suppress(ValueError):
            call()


def main(path: str, seconds: float) -> None:
    kernel, noise = load(path), random.Random(11)
    end, rounds = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        right(kernel, noise)
        split(kernel, noise)
        hostile(kernel, noise)
        rounds += 1
    print(f"{rounds} rounds")


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))

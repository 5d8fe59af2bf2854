"""The layers around a dump, taken off as a stream: gzip, zstd, gpg, from the outside in.

A small file can unpack to a disk full of nothing, so what may come out is bounded; and a layer that
was cut off says so only at its end, so the content counts only when the stream has ended well.
"""

import shutil
import zlib
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

import zstandard

from tasks.clients.gpg import Gpg
from tasks.domain.backup_formats import HEAD_BYTES, MOST_BYTES, Recognised, recognise
from tasks.domain.backups import Format, Layer
from tasks.domain.errors import BadInput, NotProven, Refused

_CHUNK = 1024 * 1024
_ZSTD_CHUNK = 4 * 1024  # of input: at zstd's utmost ratio that is 128 MB at once
_WINDOW = 128 * 1024 * 1024
_MOST_LAYERS = 4
_RATIO = 200  # logs compress tenfold, tables of repeated hashes less; bombs a thousandfold
_LEAST_LIMIT = 256 * 1024 * 1024
_SPARE_BYTES = 512 * 1024 * 1024
_GPG_SECONDS = 3600.0

Stream = Iterator[bytes]


def content_limit(path: Path) -> int:
    """How many bytes may come out of the layers around this file.

    Raises Refused when the disk has no room for anything.
    """
    free = shutil.disk_usage(path.parent).free - _SPARE_BYTES
    if free <= 0:
        raise Refused(
            f"expected {_SPARE_BYTES} free bytes and more in {path.parent} to unpack {path.name}, "
            f"found {free + _SPARE_BYTES}: make room or set TMPDIR to a larger place"
        )
    return min(free, max(_LEAST_LIMIT, _RATIO * path.stat().st_size))


def unwrapped(path: Path, gpg: Gpg | None, limit: int | None = None) -> tuple[Recognised, Stream]:
    """What is inside, recognised by content at each layer, and a stream of its bytes.

    The stream raises NotProven where a layer is damaged or cut off, Refused when more comes out
    than `limit` (in bytes; None: `content_limit`); whoever reads it must read to its end. Raises
    Refused for gpg without a configured program, NotProven for too many layers.
    """
    limit = content_limit(path) if limit is None else limit
    content: Stream = _file(path)
    layers: list[Layer] = []
    while True:
        head, content = _peek(content, HEAD_BYTES)
        found = recognise(head)
        if found.format is Format.UNKNOWN and len(head) == HEAD_BYTES:
            head, content = _peek(content, MOST_BYTES)
            found = recognise(head)
        if not found.layers:
            return Recognised(found.format, tuple(layers), found.kind, found.why), content
        if len(layers) == _MOST_LAYERS:
            raise NotProven(f"{path.name}: expected at most {_MOST_LAYERS} layers, found more")
        content = _without(found.layers[0], path, content, gpg, outermost=not layers)
        content = _bounded(content, limit, path.name)
        layers.append(found.layers[0])


def _without(
    layer: Layer, path: Path, content: Stream, gpg: Gpg | None, *, outermost: bool
) -> Stream:
    match layer:
        case Layer.GZIP:
            return _gunzip(content, path.name)
        case Layer.ZSTD:
            return _unzstd(content, path.name)
        case Layer.GPG if gpg is None:
            raise Refused(
                f"{path.name} is encrypted: expected a gpg to decrypt it with, found none "
                "configured: set RUNBOOK_DATABASE__GPG_PROGRAM and RUNBOOK_DATABASE__GPG_HOME"
            )
        case Layer.GPG if outermost:
            return gpg.decrypted(path, timeout_seconds=_GPG_SECONDS)
        case Layer.GPG:
            inner = path.with_name(f"{path.name}.gpg")
            return _through_file(content, inner, gpg)


def _through_file(content: Stream, inner: Path, gpg: Gpg) -> Stream:
    """A gpg message inside another layer: gpg reads files, so the bytes go through one."""
    try:
        write_whole(content, inner)
        yield from gpg.decrypted(inner, timeout_seconds=_GPG_SECONDS)
    finally:
        inner.unlink(missing_ok=True)


def write_whole(content: Iterable[bytes], target: Path) -> None:
    """The stream in a private file; on any error there is none."""
    try:
        with target.open("xb") as file:
            target.chmod(0o600)
            file.writelines(content)
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def _file(path: Path) -> Stream:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def decompressed(content: Stream, name: str) -> Stream:
    """The stream without its gzip or zstd layer, told by content; as it is when it has none.

    Unbounded: whoever reads knows how much there may be. Raises NotProven for a damaged layer.
    """
    head, content = _peek(content, HEAD_BYTES)
    layers = recognise(head).layers
    if layers and layers[0] is Layer.GZIP:
        return _gunzip(content, name)
    return _unzstd(content, name) if layers and layers[0] is Layer.ZSTD else content


def _peek(content: Stream, size: int) -> tuple[bytes, Stream]:
    taken: list[bytes] = []
    length = 0
    while length < size and (chunk := next(content, None)) is not None:
        taken.append(chunk)
        length += len(chunk)
    return b"".join(taken)[:size], chain(taken, content)


def _bounded(content: Stream, limit: int, name: str) -> Stream:
    size = 0
    for chunk in content:
        size += len(chunk)
        if size > limit:
            raise Refused(
                f"{name}: expected at most {limit} bytes to come out of it, found more: it is a "
                "bomb, or there is too little room; choose another backup or make room"
            )
        yield chunk


def _gunzip(content: Stream, name: str) -> Stream:
    unpacker = zlib.decompressobj(wbits=31)
    fed = False
    for chunk in content:
        data = chunk
        while data:
            if unpacker.eof:  # another member follows, or padding
                data = data.lstrip(b"\x00")
                if not data:
                    break
                unpacker = zlib.decompressobj(wbits=31)
            try:
                piece = unpacker.decompress(data, _CHUNK)
            except zlib.error as error:
                raise _damaged(name, Layer.GZIP, str(error)) from error
            fed = True
            data = unpacker.unused_data if unpacker.eof else unpacker.unconsumed_tail
            if piece:
                yield piece
    if not fed or not unpacker.eof:
        raise _damaged(name, Layer.GZIP, "it was cut off")


def _unzstd(content: Stream, name: str) -> Stream:
    program = zstandard.ZstdDecompressor(max_window_size=_WINDOW)
    unpacker = program.decompressobj(read_across_frames=False)
    fed = False
    for chunk in content:
        for at in range(0, len(chunk), _ZSTD_CHUNK):
            data = chunk[at : at + _ZSTD_CHUNK]
            while data:
                if unpacker.eof:
                    unpacker = program.decompressobj(read_across_frames=False)
                try:
                    piece = unpacker.decompress(data)
                except zstandard.ZstdError as error:
                    raise _damaged(name, Layer.ZSTD, str(error)) from error
                fed = True
                data = unpacker.unused_data if unpacker.eof else b""
                if piece:
                    yield piece
    if not fed or not unpacker.eof:
        raise _damaged(name, Layer.ZSTD, "it was cut off")


def _damaged(name: str, layer: Layer, why: str) -> NotProven:
    return NotProven(
        f"backup corrupt: {name}: its {layer} layer is damaged ({why[:100]}): choose an older "
        "backup; production is untouched"
    )


def as_bad_input(path: Path, found: Recognised) -> BadInput:
    """What to say of something that is no dump."""
    return BadInput(
        f"{path.name}: expected a dump of pg_dump, found {found}: choose another backup; "
        "production is untouched"
    )

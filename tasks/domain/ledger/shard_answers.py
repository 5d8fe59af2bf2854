"""Answers of those who hash a shard, as bytes: read strictly, never unpickled.

A SHA-256 over the text stands before it, so an answer that was cut off or altered on its way is
refused whatever it says. It is no signature: who wants to lie computes it too.
"""

import json
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from tasks.domain.ledger.blocks import SignedBlocks
from tasks.domain.ledger.comparison import Comparison
from tasks.domain.ledger.hashing import HASH_SIZE
from tasks.domain.ledger.shards import AnswerError, Maker, Part, Shard, check_part
from tasks.domain.ledger.tree import CompactRange
from tasks.domain.ledger.verdicts import Code, Finding

MAX_ANSWER_BYTES = 64 * 1024 * 1024
"""10,000 findings and more of 500 marks each; what is longer is not read."""

_DIGEST = 64
_LINK = 64
_MOST = 1 << 63
_ERROR_MARKS = 500


class ShardFailed(AnswerError):
    """Whoever was to hash the shard could not, and said why; `kind` names the error's class."""

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message)
        self.kind = kind


def encode_part(shard: Shard, maker: Maker, part: Part) -> bytes:
    """The answer that a shard was compared."""
    done, beside = part
    whole, links = done.whole, done.last_links
    told = {
        "source": done.source,
        "range": [done.begin, done.end],
        "read": [done.records, done.size],
        "matched": done.matched,
        "supposed": [list(run) for run in done.supposed],
        "whole": whole and [whole.begin, whole.end, [node.hex() for node in whole.nodes]],
        "first_link": None if done.first_link is None else done.first_link.hex(),
        "last_links": None if links is None else sorted(link.hex() for link in links),
        "findings": [_row(each) for each in done.findings],
        "beside": [_row(each) for each in beside],
    }
    return _sealed(shard, maker, told)


def encode_failure(shard: Shard, maker: Maker, error: Exception) -> bytes:
    """The answer that a shard could not be compared, and why."""
    told = {"error": type(error).__name__, "text": str(error)[:_ERROR_MARKS]}
    return _sealed(shard, maker, told)


def accepted(shard: Shard, answer: object, maker: Maker, signed: SignedBlocks) -> Part:
    """What the shard came to, if the answer is one to it; AnswerError says why it is not.

    `maker`: what the answer must be made by, which is whoever asks. ShardFailed when the answer is
    that it could not be done.
    """
    told = _opened(answer)
    try:
        if told["shard"] != shard.name:
            raise AnswerError(f"{shard}: expected an answer to it, found one to another shard")
        if "error" in told:
            kind = _text(told["error"])
            raise ShardFailed(f"{shard}: {_text(told['text'])}", kind)
        by = Maker(_text(told["code"]), _text(told["kernel"]))
        if by != maker:
            raise AnswerError(
                f"{shard}: expected an answer of code {maker.code[:12]} with {maker.kernel}, "
                f"found {by.code[:12]!a} with {by.kernel[:40]!a}: run the same image"
            )
        part = _part(told)
    except (KeyError, TypeError, ValueError) as error:
        raise AnswerError(f"{shard}: expected an answer in our form: {str(error)[:200]}") from error
    check_part(shard, part, signed)
    return part


def _sealed(shard: Shard, maker: Maker, told: dict[str, Any]) -> bytes:
    body = {"shard": shard.name, "code": maker.code, "kernel": maker.kernel, **told}
    text = json.dumps(body, separators=(",", ":")).encode()
    return sha256(text).hexdigest().encode() + text


def _opened(answer: object) -> dict[str, Any]:
    if not isinstance(answer, bytes):
        raise AnswerError(f"expected an answer of bytes, found {type(answer).__name__[:40]}")
    if len(answer) > MAX_ANSWER_BYTES:
        raise AnswerError(f"expected at most {MAX_ANSWER_BYTES} bytes, found {len(answer)}")
    text = answer[_DIGEST:]
    if sha256(text).hexdigest().encode() != answer[:_DIGEST]:
        raise AnswerError("expected an answer with its own hash, found it cut off or altered")
    try:
        told = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise AnswerError(f"expected an answer in JSON: {str(error)[:200]}") from error
    if not isinstance(told, dict):
        raise AnswerError("expected an answer that is an object")
    return told


def _part(told: dict[str, Any]) -> Part:
    begin, end = _list(told["range"], _count, exactly=2)
    records, size = _list(told["read"], _count, exactly=2)
    first, links = told["first_link"], told["last_links"]
    done = Comparison(
        source=_text(told["source"]),
        findings=_list(told["findings"], _finding),
        begin=begin,
        end=end,
        records=records,
        size=size,
        matched=_count(told["matched"]),
        supposed=_list(told["supposed"], _run),
        whole=None if told["whole"] is None else _range(told["whole"]),
        first_link=None if first is None else _hex(first, _LINK),
        last_links=None if links is None else frozenset(_list(links, lambda x: _hex(x, _LINK))),
    )
    return done, _list(told["beside"], _finding)


def _range(told: object) -> CompactRange:
    begin, end, nodes = _list(told, lambda each: each, exactly=3)
    hashes = _list(nodes, lambda each: _hex(each, HASH_SIZE))
    return CompactRange(_count(begin), _count(end), hashes)


def _run(told: object) -> tuple[int, int]:
    first, count = _list(told, _count, exactly=2)
    return first, count


def _row(finding: Finding) -> list[object]:
    about = [finding.code.value, finding.source, finding.first, finding.count]
    return [*about, finding.detail, finding.expected, finding.found]


def _finding(told: object) -> Finding:
    code, source, first, count, *texts = _list(told, lambda each: each, exactly=7)
    detail, expected, found = (_text(each) for each in texts)
    place = None if first is None else _number(first)
    return Finding(Code(code), _text(source), place, _count(count), detail, expected, found)


def _list(told: object, read: Callable[[Any], Any], exactly: int | None = None) -> tuple[Any, ...]:
    if not isinstance(told, list) or exactly not in (None, len(told)):
        raise TypeError(f"expected a list of {exactly or 'any number'}, found {str(told)[:60]}")
    return tuple(read(each) for each in told)


def _text(told: object) -> str:
    if not isinstance(told, str):
        raise TypeError(f"expected a text, found {str(told)[:60]}")
    return told


def _number(told: object) -> int:
    if type(told) is not int or not -_MOST <= told < _MOST:
        raise TypeError(f"expected a number of 64 bits, found {str(told)[:60]}")
    return told


def _count(told: object) -> int:
    if _number(told) < 0:
        raise TypeError(f"expected no negative number, found {told}")
    return _number(told)


def _hex(told: object, size: int) -> bytes:
    read = bytes.fromhex(_text(told))
    if len(read) != size:
        raise TypeError(f"expected {size} bytes in hex, found {len(read)}")
    return read

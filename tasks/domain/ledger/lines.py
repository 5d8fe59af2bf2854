"""Record lines that stay where they were read: one buffer, and where each line begins and ends.

A Python object a line is what makes readers slow. Only what looks at a single line makes one.
"""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import overload

_SPAN_BYTES = 16


class Lines(Sequence[bytes]):
    """The lines of `text` at `spans`: pairs of int64 in the machine's order, begin and end.

    Spans lie inside of the text; whoever makes them has seen to it. A slice copies spans, no text.
    """

    __slots__ = ("size", "spans", "text")

    def __init__(self, text: bytes, spans: bytes, size: int) -> None:
        self.text = text
        self.spans = spans
        self.size = size
        """Bytes of all lines."""

    @classmethod
    def of(cls, lines: Iterable[bytes]) -> "Lines":
        """Lines that exist one by one already, copied behind each other."""
        kept = list(lines)
        ends = list(accumulate(map(len, kept)))
        spans = array("q", bytes(_SPAN_BYTES * len(kept)))
        spans[1::2] = array("q", ends)
        spans[2::2] = array("q", ends[:-1])
        text = b"".join(kept)
        return cls(text, spans.tobytes(), len(text))

    @classmethod
    def at(cls, text: bytes, spans: bytes) -> "Lines":
        """Lines whose bytes nobody has counted yet."""
        places = array("q", spans)
        return cls(text, spans, sum(places[1::2]) - sum(places[::2]))

    def __len__(self) -> int:
        return len(self.spans) // _SPAN_BYTES

    @overload
    def __getitem__(self, at: int) -> bytes: ...
    @overload
    def __getitem__(self, at: slice) -> "Lines": ...
    def __getitem__(self, at: int | slice) -> "bytes | Lines":
        if isinstance(at, slice):
            begin, end, step = at.indices(len(self))
            if step != 1:
                raise ValueError("expected neighbouring lines, found a step")
            if end - begin == len(self):
                return self
            spans = self.spans[_SPAN_BYTES * begin : _SPAN_BYTES * max(begin, end)]
            return Lines.at(self.text, spans)
        places = memoryview(self.spans).cast("q")
        at = range(len(self))[at]
        return self.text[places[2 * at] : places[2 * at + 1]]

    def __iter__(self) -> Iterator[bytes]:
        places = memoryview(self.spans).cast("q")
        for at in range(0, len(places), 2):
            yield self.text[places[at] : places[at + 1]]


def size_of(lines: Sequence[bytes]) -> int:
    """Bytes of all lines, without newlines."""
    return lines.size if isinstance(lines, Lines) else sum(map(len, lines))

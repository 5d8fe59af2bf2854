"""A rate limit per source: token buckets in a bounded table.

Whoever is over its rate hears 503, never 429: Alertmanager tries only 5xx again. A source is a
token together with an address, both authenticated before they get a bucket, so the table is not
for strangers to fill.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

_SOURCES = 4096


@dataclass(slots=True)
class _Bucket:
    level: float
    at: float


class RateLimit:
    """`rate` per second with bursts of `burst`; not safe for several threads: one loop owns it.

    Of more than `sources` at once, the one that was silent longest is forgotten: it begins anew
    with a full bucket.
    """

    def __init__(
        self,
        rate: float,
        burst: int,
        *,
        sources: int = _SOURCES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rate = rate
        self._burst = float(burst)
        self._sources = sources
        self._clock = clock
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def seconds_until_free(self, source: str) -> float:
        """0 when one more may come now, which is then counted; else how long that will take."""
        now = self._clock()
        bucket = self._buckets.get(source)
        if bucket is None:
            if len(self._buckets) >= self._sources:
                self._buckets.popitem(last=False)
            bucket = self._buckets[source] = _Bucket(self._burst, now)
        else:
            self._buckets.move_to_end(source)
            gained = max(0.0, now - bucket.at) * self._rate
            bucket.level = min(self._burst, bucket.level + gained)
            bucket.at = now
        if bucket.level < 1:
            return (1 - bucket.level) / self._rate
        bucket.level -= 1
        return 0.0

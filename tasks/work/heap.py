"""Memory of bulk reading stays with the process between one batch and the next.

glibc hands large blocks back to the system as they are freed, and every page of the next block is
then faulted in anew: a third of the time that a verification takes, for buffers of one size.
"""

import ctypes
from functools import cache

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -2, -3, -8  # malloc.h
_KEPT = 128 * 1024 * 1024
_LARGEST = 32 * 1024 * 1024
_GROWN_BY = 8 * 1024 * 1024


@cache
def keep_freed_memory() -> None:
    """At most 128 MiB that are free are kept from now on; without glibc nothing changes."""
    share_one_arena()
    _set((_TRIM_THRESHOLD, _KEPT), (_TOP_PAD, _GROWN_BY), (_MMAP_THRESHOLD, _LARGEST))


def share_one_arena() -> None:
    """Threads that are started from now on get no arena of their own, to keep what they freed."""
    _set((_ARENA_MAX, 1))


def _set(*options: tuple[int, int]) -> None:
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for name, value in options:
            mallopt(name, value)

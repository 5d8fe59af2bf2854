"""`df [-h] [-P] [-k] [--] [PLACE]` for the lab's database pod: its volume. Standard library only.

Environment: LAB_VOLUME, a file with `bytes used place`. Whatever place is asked for, it is there.
"""

import os
import sys
from pathlib import Path

_KIB = 1024
_UNITS = "KMGTP"


def main() -> int:
    """Print the volume as coreutils would."""
    size, used, place = Path(os.environ["LAB_VOLUME"]).read_text(encoding="ascii").split()
    total, taken = int(size), min(int(used), int(size))
    flags = "".join(each[1:] for each in sys.argv[1:] if each.startswith("-") and each != "--")
    share = -(-100 * taken // total)
    if "h" in flags:
        cells = [_human(each) for each in (total, taken, total - taken)]
        heads = ["Size", "Used", "Avail", "Use%"]
    else:
        cells = [str(each // _KIB) for each in (total, taken, total - taken)]
        heads = ["1024-blocks", "Used", "Available", "Capacity"]
    print(f"{'Filesystem':14} {' '.join(f'{each:>12}' for each in heads)} Mounted on")
    print(f"{'/dev/sdb':14} {' '.join(f'{each:>12}' for each in cells)} {share:>11}% {place}")
    return 0


def _human(size: int) -> str:
    value = size / _KIB
    for unit in _UNITS:
        if value < _KIB:
            return f"{value:.1f}{unit}"
        value /= _KIB
    return f"{value:.1f}E"


if __name__ == "__main__":
    sys.exit(main())

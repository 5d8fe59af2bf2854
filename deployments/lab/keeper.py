"""The keeper: ends what a killed lab left running. `python -m deployments.lab.keeper STATE`.

Its standard input is a pipe whose other end only the lab holds; the kernel closes it when the lab
dies, however it dies.
"""

import sys
import time
from pathlib import Path

from deployments.lab.sweeping import sweep

_GRACE_SECONDS = 0.3  # PostgreSQL, told by the kernel, takes its shared memory with it


def main() -> None:
    """Wait for the lab's end, then sweep; a lab that stopped cleanly says so first."""
    if sys.stdin.buffer.read():
        return
    time.sleep(_GRACE_SECONDS)
    sweep(Path(sys.argv[1]))


if __name__ == "__main__":
    main()

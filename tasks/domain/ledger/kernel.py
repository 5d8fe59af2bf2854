"""Which SHA-256 does the ledger's work: our C for x86 with SHA extensions, else hashlib.

The C is built with the package where a compiler is, and absent elsewhere. A module that is there
proves nothing: before it is believed it must agree with hashlib about lines of every length around
the block boundaries and some random ones. The same verdicts come out of both, only later.
"""

from types import ModuleType
from typing import Final

from tasks.domain.ledger.kernel_check import difference
from tasks.domain.ledger.kernel_hashlib import Hashlib
from tasks.domain.ledger.kernel_native import ShaExtensions
from tasks.domain.ledger.kernel_protocol import Kernel


def chosen(module: ModuleType | None, why_not: str) -> tuple[Kernel, str]:
    """The kernel to use, and why it is not the C one; `module` is that one where it was loaded."""
    if module is None:
        return Hashlib(), why_not
    native = ShaExtensions(module)
    try:
        wrong = difference(native)
    except (ArithmeticError, AttributeError, TypeError, ValueError) as error:
        return Hashlib(), f"the C kernel failed its self-test: {error}"
    if wrong:
        return Hashlib(), f"the C kernel failed its self-test: it computes other {wrong}"
    return native, ""


def _loaded() -> tuple[ModuleType | None, str]:
    try:
        from tasks.domain.ledger import _kernel  # noqa: PLC0415 - it may be absent
    except ImportError as error:
        return None, f"the C kernel is not there: {error}"
    return _kernel, ""


_CHOSEN = chosen(*_loaded())
KERNEL: Final = _CHOSEN[0]
WHY_NOT_NATIVE: Final = _CHOSEN[1]

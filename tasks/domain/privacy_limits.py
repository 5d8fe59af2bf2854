"""From where on what is seen of the privacy engine is a cause."""

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class PrivacyLimits:
    """Bounds, from the settings.

    `cap`: the greatest epsilon of one block of data, at `delta` where the engine states none;
    `least_multiplier`: the least noise over sensitivity; `k` and `l` of published records;
    `targets`: what a new epoch, and what a correction of the ledger changes; `blocks_settled`:
    how many different histories are computed tightly at one look.
    """

    cap: Decimal = Decimal(10)
    delta: Decimal = Decimal("0.00001")
    least_multiplier: Decimal = Decimal(1)
    k: int = 5
    l: int = 2  # noqa: E741  the name of the field
    epoch_target: str = "privacy-engine/budget"
    ledger_target: str = "database/rlhf_audit"
    blocks_settled: int = 50

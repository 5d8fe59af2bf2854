"""What can go wrong in the rules themselves, one class for each decision a caller makes.

    RunbookError
    |-- BadInput          what was given cannot be understood: say which field, exit 2
    |-- Refused           a rule of the door forbids the change; nothing was done
    |   |-- Held          a hold covers the target and its evidence is not sealed
    |   |-- NotPermitted  this person's role does not allow it: ask somebody whose role does
    |   |-- NotApproved   no valid approval of this plan's hash: none, denied, expired, self-made
    |   |-- PlanStale     what the plan was made against has changed: make a new plan
    |   |-- TooManyChanges  the hourly cap or the cool-down of the target
    |   `-- LockLost      another holder has the target, or ours was taken over
    `-- NotProven         a change was carried out, or data was read, and the proof does not hold

Messages say what was expected, what was found and what to do next.
"""


class RunbookError(Exception):
    """Base of every error of ours."""


class BadInput(RunbookError):
    """The input cannot be understood; nothing was changed and nothing was decided."""


class Refused(RunbookError):
    """A rule forbids the change; nothing was done."""


class Held(Refused):
    """A hold covers the target and no sealed evidence or named override satisfies it."""


class NotPermitted(Refused):
    """The person's role does not allow what they asked for."""


class NotApproved(Refused):
    """No person with the right role has approved exactly this plan in time."""


class PlanStale(Refused):
    """The observed state is no longer the one that the plan was made against."""


class TooManyChanges(Refused):
    """The cap of changes per hour, or the cool-down of this target, is reached."""


class LockLost(Refused):
    """The target's lock belongs to a holder with a newer fencing token."""


class NotProven(RunbookError):
    """The proof that must hold after (or before) a change does not hold."""

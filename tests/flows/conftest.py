"""The stack as flows see it."""

from collections.abc import Iterator

import pytest

from deployments.lab.stack import Lab
from tests.flows.responding import Responding


@pytest.fixture
def responding(stack: Lab) -> Iterator[Responding]:
    """The whole stack, undamaged, and who acts on it."""
    acting = Responding(stack)
    yield acting
    acting.close()

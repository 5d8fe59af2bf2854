"""What every group of settings is."""

from pydantic import BaseModel, ConfigDict

WEB = r"^(https?://[^\s\\]+)?$"
"""A web address, or nothing: nothing else ever becomes a link."""


class Section(BaseModel):
    """A group of settings: frozen, closed, and silent about the values that it refuses."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

"""What all messages between the rooms have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Wire(BaseModel):
    """Frozen; unknown fields are ignored, so that either side of a wire may be upgraded first."""

    model_config = ConfigDict(frozen=True, extra="ignore")

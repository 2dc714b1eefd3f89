"""Pieces of the request and reply shapes that every room uses."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, Strict, StringConstraints

MAX_CENTS: Final = 900_000_000
"""9 million USD: what a counter of nano-USD holds exactly in Lua's doubles."""
MAX_LIFETIME_SECONDS: Final = 10 * 365 * 86_400
NANO_USD_PER_CENT: Final = 10_000_000


def _to_unix(value: Any) -> Any:
    return int(value.timestamp()) if isinstance(value, datetime) else value


Timestamp = Annotated[int, BeforeValidator(_to_unix)]
"""Unix seconds on the wire, an aware datetime inside."""

Name = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]+$")
]
ModelName = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=r"^[A-Za-z0-9][\w./:@+-]*$")]
Email = Annotated[str, StringConstraints(min_length=3, max_length=320, pattern=r"^[^@\s\x00]+@[^@\s\x00]+$")]
Count = Annotated[int, Strict(), Field(ge=0, le=2**53)]
Cents = Annotated[int, Strict(), Field(ge=0, le=MAX_CENTS)]
Lifetime = Annotated[int, Strict(), Field(gt=0, le=MAX_LIFETIME_SECONDS)]
Flag = Annotated[bool, Strict()]


class Body(BaseModel):
    """A request body: a field that we do not know is an error, not a silence."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class View(BaseModel):
    """A reply, made from a row or from plain values."""

    model_config = ConfigDict(frozen=True, from_attributes=True)


class Identified(View):
    """A reply that can stand in a list."""

    id: str


class Deleted(View):
    """OpenAI's answer to a DELETE; `object` ends in `.deleted`."""

    id: str
    object: str
    deleted: bool = True


class DeletedSingleton(View):
    """The answer where the deleted thing has no id of its own."""

    object: str
    deleted: bool = True

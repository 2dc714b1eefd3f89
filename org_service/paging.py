"""Lists, cut by id: one envelope that satisfies every style of the OpenAI SDK's pages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Generic, Literal, TypeVar

from fastapi import Depends, Query
from sqlalchemy import Select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from org_service.wire import Identified, View

Item = TypeVar("Item", bound=Identified)
Row = TypeVar("Row")

MAX_LIMIT = 100


class Page(View, Generic[Item]):
    """`next` repeats `last_id`: some of the SDK's pages follow the one, some the other."""

    object: Literal["list"] = "list"
    data: list[Item]
    first_id: str | None
    last_id: str | None
    has_more: bool
    next: str | None


@dataclass(frozen=True, slots=True)
class Cut:
    """Which part of a list is asked for. Ids sort by time, so an id is a cursor even after its object is gone."""

    after: str | None
    before: str | None
    limit: int
    descending: bool

    @property
    def backwards(self) -> bool:
        """`before` alone walks towards the start, and the page is turned round afterwards."""
        return self.before is not None and self.after is None


Cursor = Annotated[str | None, Query(max_length=256, pattern=r"^[^\x00]*$")]


def _cut(
    after: Cursor = None,
    before: Cursor = None,
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT)] = 20,
    order: Literal["asc", "desc"] = "asc",
) -> Cut:
    return Cut(after, before, limit, order == "desc")


PageQuery = Annotated[Cut, Depends(_cut)]


def _cut_newest_first(cut: PageQuery, order: Literal["asc", "desc"] = "desc") -> Cut:
    return Cut(cut.after, cut.before, cut.limit, order == "desc")


NewestFirst = Annotated[Cut, Depends(_cut_newest_first)]


def _cut_by_hundred(cut: PageQuery, limit: Annotated[int, Query(ge=1, le=MAX_LIMIT)] = MAX_LIMIT) -> Cut:
    return Cut(cut.after, cut.before, limit, cut.descending)


HundredAPage = Annotated[Cut, Depends(_cut_by_hundred)]


@dataclass(frozen=True, slots=True)
class Slice(Generic[Row]):
    rows: Sequence[Row]
    has_more: bool


async def read(
    session: AsyncSession, query: Select[Row], column: InstrumentedAttribute[str], cut: Cut
) -> Slice[Row]:
    """The rows of `query` between the cursors, in the order of `column`."""
    up, down = (cut.before, cut.after) if cut.descending else (cut.after, cut.before)
    if up is not None:
        query = query.where(column > up)
    if down is not None:
        query = query.where(column < down)
    falling = cut.descending != cut.backwards
    query = query.order_by(column.desc() if falling else column.asc()).limit(cut.limit + 1)
    rows = list((await session.execute(query)).scalars())
    return _trim(rows, cut)


def read_memory(rows: Iterable[Row], key: Callable[[Row], str], cut: Cut) -> Slice[Row]:
    """As `read`, for a list that is short and already here."""
    up, down = (cut.before, cut.after) if cut.descending else (cut.after, cut.before)
    kept = [row for row in rows if (up is None or key(row) > up) and (down is None or key(row) < down)]
    kept.sort(key=key, reverse=cut.descending != cut.backwards)
    return _trim(kept[: cut.limit + 1], cut)


def _trim(rows: list[Row], cut: Cut) -> Slice[Row]:
    kept = rows[: cut.limit]
    return Slice(kept[::-1] if cut.backwards else kept, has_more=len(rows) > cut.limit)


def page(part: Slice[Row], view: Callable[[Row], Item]) -> Page[Item]:
    """The envelope around a slice."""
    data = [view(row) for row in part.rows]
    ids: list[str] = [item.id for item in data]
    last_id = ids[-1] if ids else None
    return Page(
        data=data,
        first_id=ids[0] if ids else None,
        last_id=last_id,
        has_more=part.has_more,
        next=last_id if part.has_more else None,
    )

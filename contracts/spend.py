"""What was spent, as analytics recorded it: the source from which lost ledger counters are rebuilt."""

from __future__ import annotations

from pydantic import AwareDatetime

from contracts.grant import LevelKind, Period
from contracts.wire import Wire


class LevelSpend(Wire):
    """One level's recorded spend in the UTC day and the UTC month that contain the report's `at`, and ever."""

    level: LevelKind
    id: str
    day_nano_usd: int
    month_nano_usd: int
    ever_nano_usd: int

    def in_period(self, period: Period) -> int:
        match period:
            case Period.DAY:
                return self.day_nano_usd
            case Period.MONTH:
                return self.month_nano_usd
            case Period.NONE:
                return self.ever_nano_usd


class SpendReport(Wire):
    """The answer of SPEND_PATH for one organization: itself and every project, owner and key that ever called.
    No levels at all: nothing was ever recorded of it."""

    organization_id: str
    at: AwareDatetime
    levels: tuple[LevelSpend, ...] = ()

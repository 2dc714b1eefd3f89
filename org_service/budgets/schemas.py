"""Limits on the wire: OpenAI's singletons, and one object that holds everything that stands on a level."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from contracts.grant import Period
from org_service.tables import SpendAlert, SpendLimit
from org_service.wire import Body, Cents, Count, Email, Identified, ModelName, Name, View

Interval = Literal["day", "month", "none"]


class SpendLimitBody(Body):
    """`interval` day and none are extensions."""

    threshold_amount: Cents
    currency: Literal["USD"] = "USD"
    interval: Interval = "month"


class Enforcement(View):
    status: Literal["inactive", "enforcing"] = "enforcing"


class SpendLimitView(View):
    object: str
    threshold_amount: int
    currency: str = "USD"
    interval: str
    enforcement: Enforcement = Enforcement()

    @classmethod
    def of(cls, row: SpendLimit) -> SpendLimitView:
        name = f"{row.level_kind}.spend_limit"
        return cls(object=name, threshold_amount=row.threshold_cents, interval=row.period)


class Channel(Body):
    type: Literal["email"] = "email"
    recipients: list[Email]
    subject_prefix: Name | None = None


class SpendAlertBody(Body):
    threshold_amount: Cents
    currency: Literal["USD"] = "USD"
    interval: Interval = "month"
    notification_channel: Channel


class SpendAlertView(Identified):
    object: str
    threshold_amount: int
    currency: str = "USD"
    interval: str
    notification_channel: Channel

    @classmethod
    def of(cls, row: SpendAlert) -> SpendAlertView:
        channel = Channel(recipients=row.recipients, subject_prefix=row.subject_prefix)
        return cls(
            id=row.id,
            object=f"{row.level_kind}.spend_alert",
            threshold_amount=row.threshold_cents,
            interval=row.period,
            notification_channel=channel,
        )


class RateLimitUpdate(Body):
    """A field given as null lifts that limit; a field left out stays as it is."""

    max_requests_per_1_minute: Count | None = None
    max_tokens_per_1_minute: Count | None = None


class RateLimitView(Identified):
    """null is unlimited. `model` is `*` for the limit over all models."""

    object: Literal["project.rate_limit"] = "project.rate_limit"
    model: str
    max_requests_per_1_minute: int | None
    max_tokens_per_1_minute: int | None


class SpendPart(Body):
    threshold_amount: Cents
    interval: Interval = "month"


class RatePart(Body):
    """`model` null counts every model together."""

    model: ModelName | None = None
    max_requests_per_1_minute: Count | None = None
    max_tokens_per_1_minute: Count | None = None


class LimitsUpdate(Body):
    """What is given replaces what stands; [] and null lift it; what is left out stays."""

    spend: list[SpendPart] | None = None
    rates: list[RatePart] | None = None
    max_concurrent_requests: Count | None = None

    @model_validator(mode="after")
    def _no_doubles(self) -> Self:
        intervals = [each.interval for each in self.spend or []]
        models = [each.model for each in self.rates or []]
        if len(set(intervals)) < len(intervals) or len(set(models)) < len(models):
            raise ValueError("each interval and each model may have one limit")
        return self


class LimitsView(View):
    object: str
    spend: list[SpendPart]
    rates: list[RatePart]
    max_concurrent_requests: int | None


PERIOD_ORDER = (Period.MONTH, Period.DAY, Period.NONE)
"""Which spend limit a GET without an interval shows where there are several."""

"""Money, times and counts as people write and read them."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Final

from tern.cli.problems import WrongUseError

SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
CENTS_PER_USD: Final = 100
NANO_PER_USD: Final = 1_000_000_000
MOST: Final = 10**15


def cents(text: str) -> int:
    """`12.50` or `$12.50` -> 1250."""
    return _scaled(text, CENTS_PER_USD, "whole cents, such as 12.50")


def rate(text: str) -> int:
    """USD per million tokens -> nano-USD per million tokens."""
    return _scaled(text, NANO_PER_USD, "USD per million tokens, such as 0.15")


def _scaled(text: str, factor: int, wanted: str) -> int:
    try:
        amount = Decimal(text.strip().removeprefix("$")) * factor
    except InvalidOperation:
        raise WrongUseError(f"'{text}' is no amount: write {wanted}.") from None
    if not amount.is_finite() or not 0 <= amount <= MOST or amount != amount.to_integral_value():
        raise WrongUseError(f"'{text}' is no amount: write {wanted}.")
    return int(amount)


def seconds(text: str) -> int:
    """`90s`, `15m`, `12h`, `30d`, `2w` -> seconds."""
    match = re.fullmatch(r"(\d+)([smhdw])", text.strip())
    if match is None:
        raise WrongUseError(f"'{text}' is no duration: write 90s, 15m, 12h, 30d or 2w.")
    return int(match[1]) * SECONDS[match[2]]


def usd_of_cents(amount: int) -> str:
    return f"${amount / CENTS_PER_USD:,.2f}"


def usd_of_nano(amount: int) -> str:
    """As many places as the amount needs, two at least: small calls cost less than a cent."""
    text = f"{Decimal(amount) / NANO_PER_USD:,.9f}".rstrip("0")
    whole, _, part = text.partition(".")
    return f"${whole}.{part.ljust(2, '0')}"


def moment(unix_seconds: int | None, never: str = "never") -> str:
    if unix_seconds is None:
        return never
    return datetime.fromtimestamp(unix_seconds, UTC).strftime("%Y-%m-%d %H:%M")


def count(number: int | None, unlimited: str = "-") -> str:
    return unlimited if number is None else f"{number:,}"

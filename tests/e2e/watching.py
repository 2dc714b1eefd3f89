"""Waiting for a deployment to come to rest, and what must hold there."""

from __future__ import annotations

import asyncio
import time

from tests.e2e.product import Product

REST_SECONDS = 60.0


async def at_rest(product: Product, timeout_seconds: float = REST_SECONDS) -> int:
    """Wait until nothing is reserved, no slot is taken, no event is on its way, and ledger and analytics agree;
    the sum that both show, in nano-USD."""
    give_up_at = time.monotonic() + timeout_seconds
    while True:
        spent, (_, metered), still_open = (
            product.ledger_spent_nano_usd(),
            product.analytics_rows(),
            product.ledger_open(),
        )
        if spent == metered and not any(still_open.values()):
            return spent
        if time.monotonic() > give_up_at:
            raise AssertionError(f"ledger {spent}, analytics {metered}, still open {still_open}")
        await asyncio.sleep(0.1)

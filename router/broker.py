"""AmqpBroker: usage events through RabbitMQ, confirmed by a quorum of the queue's replicas."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Final

import aio_pika
from aio_pika.abc import AbstractConnection, AbstractExchange

from contracts.topology import (
    DEAD_LETTER_EXCHANGE,
    DEAD_LETTER_EXCHANGE_TYPE,
    DEAD_LETTER_QUEUE,
    USAGE_EXCHANGE,
    USAGE_EXCHANGE_TYPE,
    USAGE_QUEUE,
    USAGE_ROUTING_KEY,
    dead_letter_queue_arguments,
    usage_queue_arguments,
)
from contracts.usage_event import BATCH_CONTENT_TYPE, encode_batch
from router.ports import BrokerUnavailableError

PUBLISH_TIMEOUT_SECONDS: Final = 5.0


class AmqpBroker:
    """Connects when first asked and again after every fault; the caller decides how long to wait in between."""

    def __init__(self, url: str, *, timeout_seconds: float = PUBLISH_TIMEOUT_SECONDS) -> None:
        self._url = url
        self._timeout_seconds = timeout_seconds
        self._connection: AbstractConnection | None = None
        self._exchange: AbstractExchange | None = None
        self._connecting = asyncio.Lock()

    async def publish(self, events: Sequence[bytes]) -> None:
        message = aio_pika.Message(
            encode_batch(events),
            content_type=BATCH_CONTENT_TYPE,
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        )
        try:
            async with asyncio.timeout(self._timeout_seconds):
                exchange = await self._ready_exchange()
                await exchange.publish(message, USAGE_ROUTING_KEY, mandatory=True)
        except (aio_pika.exceptions.AMQPError, OSError, RuntimeError, TimeoutError) as error:
            await self.close()
            raise BrokerUnavailableError(f"RabbitMQ did not confirm: {error!r}") from error
        except asyncio.CancelledError as error:
            if _is_cancelled_from_outside():
                raise
            await self.close()
            raise BrokerUnavailableError("the connection to RabbitMQ broke") from error

    async def is_queue_empty(self) -> bool:
        """Whether no event waits for analytics; False where the broker cannot say."""
        try:
            async with asyncio.timeout(self._timeout_seconds):
                await self._ready_exchange()
                if self._connection is None:
                    return False
                async with self._connection.channel() as channel:
                    queue = await channel.declare_queue(USAGE_QUEUE, passive=True)
                return not queue.declaration_result.message_count
        except (aio_pika.exceptions.AMQPError, OSError, RuntimeError, TimeoutError):
            return False

    async def close(self) -> None:
        connection, self._connection, self._exchange = self._connection, None, None
        if connection is not None:
            with contextlib.suppress(aio_pika.exceptions.AMQPError, OSError, RuntimeError, TimeoutError):
                async with asyncio.timeout(self._timeout_seconds):
                    await connection.close()

    async def _ready_exchange(self) -> AbstractExchange:
        async with self._connecting:
            if self._exchange is None:
                self._connection = await aio_pika.connect(self._url)
                self._exchange = await declare(self._connection)
            return self._exchange


def _is_cancelled_from_outside() -> bool:
    """The AMQP client cancels its own futures when a connection breaks; only our caller cancels our task."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def declare(connection: AbstractConnection) -> AbstractExchange:
    """Exchange, quorum queue and dead-letter pair, all durable; what is there already stays as it is."""
    channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
    dead = await channel.declare_exchange(DEAD_LETTER_EXCHANGE, DEAD_LETTER_EXCHANGE_TYPE, durable=True)
    dead_queue = await channel.declare_queue(
        DEAD_LETTER_QUEUE, durable=True, arguments={**dead_letter_queue_arguments()}
    )
    await dead_queue.bind(dead)
    exchange = await channel.declare_exchange(USAGE_EXCHANGE, USAGE_EXCHANGE_TYPE, durable=True)
    queue = await channel.declare_queue(USAGE_QUEUE, durable=True, arguments={**usage_queue_arguments()})
    await queue.bind(exchange, USAGE_ROUTING_KEY)
    return exchange

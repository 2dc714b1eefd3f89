"""Deliveries from RabbitMQ: one message is one delivery of many events.

A lost connection takes its unacknowledged messages with it, so nothing here reconnects by itself: the source is
closed and opened anew, and the broker delivers again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Iterator
from typing import Final

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange, AbstractIncomingMessage
from aiormq.exceptions import AMQPException

from analytics.deliveries import DeadLetter, Delivery, decode_message
from analytics.errors import SourceUnavailableError
from contracts import topology

OPEN_TIMEOUT_SECONDS: Final = 10.0
CONFIRM_TIMEOUT_SECONDS: Final = 10.0
REASON_LENGTH: Final = 1000
"""An AMQP header must fit a frame; a reason needs no more."""
_LOST: Final = None


class RabbitSource:
    """A consumer of the usage queue with `prefetch` unacknowledged messages at most."""

    def __init__(self, url: str, prefetch: int) -> None:
        self._url = url
        self._prefetch = prefetch
        self._connection: AbstractConnection | None = None
        self._dead: AbstractExchange | None = None
        self._arrived: asyncio.Queue[AbstractIncomingMessage | None] = asyncio.Queue()

    async def open(self) -> None:
        """All of it within a time: a queue that has no leader yet keeps a consumer waiting for ever."""
        with _translated():
            async with asyncio.timeout(OPEN_TIMEOUT_SECONDS):
                self._connection = await aio_pika.connect(self._url)
                await self._consume(self._connection)

    async def _consume(self, connection: AbstractConnection) -> None:
        arrived: asyncio.Queue[AbstractIncomingMessage | None] = asyncio.Queue()
        self._arrived = arrived
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        channel.close_callbacks.add(lambda *_: arrived.put_nowait(_LOST))
        below = await channel.get_underlay_channel()
        below.on_consumer_cancel_callbacks.add(lambda _: arrived.put_nowait(_LOST))
        await channel.set_qos(prefetch_count=self._prefetch)
        self._dead = await _declare_dead_letters(channel)
        queue = await _declare_usage(channel)
        await queue.consume(arrived.put)

    async def close(self) -> None:
        connection, self._connection, self._dead = self._connection, None, None
        if connection is not None:
            with contextlib.suppress(SourceUnavailableError), _translated():
                await connection.close()

    async def take(self, limit_events: int, wait_seconds: float) -> list[Delivery]:
        try:
            message = await asyncio.wait_for(self._arrived.get(), wait_seconds)
        except TimeoutError:
            return []
        taken: list[Delivery] = []
        count = 0
        while True:
            if message is _LOST:
                raise SourceUnavailableError("the broker closed the channel or cancelled the consumer")
            taken.append(Delivery(message, decode_message(message.body)))
            count += len(taken[-1].decoded)
            if count >= limit_events or self._arrived.empty():
                return taken
            message = self._arrived.get_nowait()

    async def bury(self, letters: list[DeadLetter]) -> None:
        for letter in letters:
            message = aio_pika.Message(
                letter.raw,
                content_type="application/json",
                delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
                headers={"x-tern-reason": letter.reason[:REASON_LENGTH]},
            )
            await self._publish_dead(message)

    async def _publish_dead(self, message: aio_pika.Message) -> None:
        if self._dead is None:
            raise SourceUnavailableError("not open")
        with _translated():
            await self._dead.publish(
                message, topology.USAGE_ROUTING_KEY, mandatory=True, timeout=CONFIRM_TIMEOUT_SECONDS
            )

    async def done(self, deliveries: list[Delivery]) -> None:
        with _translated():
            for delivery in deliveries:
                await _acknowledged(delivery.receipt)


def _acknowledged(message: AbstractIncomingMessage) -> Awaitable[None]:
    return message.ack()


async def _declare_usage(channel: AbstractChannel) -> aio_pika.abc.AbstractQueue:
    exchange = await channel.declare_exchange(topology.USAGE_EXCHANGE, topology.USAGE_EXCHANGE_TYPE, durable=True)
    queue = await channel.declare_queue(
        topology.USAGE_QUEUE, durable=True, arguments=dict(topology.usage_queue_arguments())
    )
    await queue.bind(exchange, topology.USAGE_ROUTING_KEY)
    return queue


async def _declare_dead_letters(channel: AbstractChannel) -> AbstractExchange:
    exchange = await channel.declare_exchange(
        topology.DEAD_LETTER_EXCHANGE, topology.DEAD_LETTER_EXCHANGE_TYPE, durable=True
    )
    queue = await channel.declare_queue(
        topology.DEAD_LETTER_QUEUE, durable=True, arguments=dict(topology.dead_letter_queue_arguments())
    )
    await queue.bind(exchange)
    return exchange


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (AMQPException, aio_pika.exceptions.AMQPError, OSError, TimeoutError, RuntimeError) as error:
        raise SourceUnavailableError(f"{type(error).__name__}: {error}") from error
    except asyncio.CancelledError as error:
        if _was_cancelled_from_outside():
            raise
        raise SourceUnavailableError("the client gave up its connection") from error


def _was_cancelled_from_outside() -> bool:
    """The AMQP client cancels its own futures when a connection breaks, which must not end the worker."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0

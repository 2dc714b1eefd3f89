"""A batch is confirmed by the broker or the caller is told that it was not."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aio_pika
import pytest

from contracts.topology import USAGE_QUEUE
from contracts.usage_event import BATCH_CONTENT_TYPE
from router.broker import AmqpBroker, declare
from router.memory_broker import MemoryBroker
from router.ports import BrokerUnavailableError
from tern.stack.process import free_port


@asynccontextmanager
async def queue(url: str) -> AsyncIterator[aio_pika.abc.AbstractQueue]:
    """The usage queue, emptied."""
    async with await aio_pika.connect(url) as connection:
        await declare(connection)
        channel = await connection.channel()
        queue = await channel.get_queue(USAGE_QUEUE)
        await queue.purge()
        yield queue


async def test_the_twin_keeps_a_batch_as_one_message() -> None:
    broker = MemoryBroker()
    await broker.publish([b'{"id":"1"}', b'{"id":"2"}'])
    assert [json.loads(message) for message in broker.messages] == [[{"id": "1"}, {"id": "2"}]]


async def test_a_confirmed_batch_is_one_persistent_message_in_the_queue(rabbitmq_url: str) -> None:
    broker = AmqpBroker(rabbitmq_url)
    async with queue(rabbitmq_url) as usage:
        await broker.publish([b'{"id":"1"}', b'{"id":"2"}'])
        message = await usage.get(timeout=5)
        assert message is not None
        assert json.loads(message.body) == [{"id": "1"}, {"id": "2"}]
        assert message.content_type == BATCH_CONTENT_TYPE
        assert message.delivery_mode == aio_pika.DeliveryMode.PERSISTENT
        await message.ack()
    await broker.close()


async def test_a_message_that_reaches_no_queue_is_not_confirmed(rabbitmq_url: str) -> None:
    broker = AmqpBroker(rabbitmq_url)
    async with queue(rabbitmq_url) as usage:
        await broker.publish([b"{}"])
        await usage.delete(if_unused=False, if_empty=False)
        with pytest.raises(BrokerUnavailableError):
            await broker.publish([b"{}"])
        await broker.publish([b'{"id":"again"}'])
    async with await aio_pika.connect(rabbitmq_url) as connection:
        again = await (await connection.channel()).get_queue(USAGE_QUEUE)
        message = await again.get(timeout=5, no_ack=True)
        assert message is not None
        assert json.loads(message.body) == [{"id": "again"}]
    await broker.close()


async def test_without_a_broker_the_caller_is_told_at_once() -> None:
    broker = AmqpBroker(f"amqp://guest:guest@127.0.0.1:{free_port()}/")
    with pytest.raises(BrokerUnavailableError):
        await broker.publish([b"{}"])


async def test_a_twin_that_is_down_confirms_nothing() -> None:
    broker = MemoryBroker(is_down=True)
    with pytest.raises(BrokerUnavailableError):
        await broker.publish([b"{}"])
    assert broker.messages == []

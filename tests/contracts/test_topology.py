from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from contracts.topology import SHARD_COUNT, outbox_stream, shard_of


@given(st.text())
def test_every_organization_has_a_shard(organization_id: str) -> None:
    assert 0 <= shard_of(organization_id) < SHARD_COUNT


def test_shards_never_move() -> None:
    # 0x31C3 is the published check value of CRC-16/XMODEM.
    assert shard_of("123456789") == 0x31C3 % SHARD_COUNT


def test_outbox_streams_carry_their_hash_tag() -> None:
    assert outbox_stream(7) == "tern:{s07}:outbox"

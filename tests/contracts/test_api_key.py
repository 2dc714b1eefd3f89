from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.api_key import ALPHABET, KeyKind, MalformedKeyError, digest, generate, parse, redact


@pytest.mark.parametrize("kind", list(KeyKind))
def test_a_generated_key_parses_to_its_kind(kind: KeyKind) -> None:
    assert parse(generate(kind)) is kind


def test_two_keys_are_never_equal() -> None:
    assert len({generate(KeyKind.USER) for _ in range(1000)}) == 1000


@given(st.data())
def test_a_single_wrong_character_is_refused(data: st.DataObject) -> None:
    secret = generate(KeyKind.USER)
    position = data.draw(st.integers(len("tern_sk_"), len(secret) - 1))
    wrong = data.draw(st.sampled_from([letter for letter in ALPHABET if letter != secret[position]]))
    with pytest.raises(MalformedKeyError):
        parse(secret[:position] + wrong + secret[position + 1 :])


@given(st.text())
def test_any_other_text_is_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(MalformedKeyError) as refused:
        parse(text)
    assert len(text) < 8 or text not in str(refused.value)


def test_a_prefix_cannot_be_exchanged() -> None:
    secret = generate(KeyKind.USER)
    with pytest.raises(MalformedKeyError, match="checksum"):
        parse(secret.replace("tern_sk_", "tern_admin_"))


def test_the_digest_is_sha_256_of_the_whole_secret() -> None:
    secret = generate(KeyKind.ADMIN)
    assert digest(secret) == hashlib.sha256(secret.encode()).hexdigest()


def test_redaction_shows_eight_characters() -> None:
    secret = generate(KeyKind.SERVICE_ACCOUNT)
    body = secret.removeprefix("tern_svc_")
    assert redact(secret) == f"tern_svc_{body[:4]}...{body[-4:]}"

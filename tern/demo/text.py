"""Between text and tokens: prompts in, deltas out that never split a character or leak a stop string."""

from __future__ import annotations

import codecs
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer

from tern.demo.checkpoint import CheckpointError

_ROLES = {"developer": "system", "tool": "user", "function": "user"}


class TextCodec:
    """The tokenizer and the chat template of a checkpoint."""

    def __init__(self, directory: Path) -> None:
        try:
            self._tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
            config: dict[str, Any] = json.loads((directory / "tokenizer_config.json").read_text())
        except (OSError, ValueError) as fault:
            raise CheckpointError(f"cannot read the tokenizer of {directory}: {fault}") from fault
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        self._template = environment.from_string(config["chat_template"])
        self._bos = config["bos_token"]
        self.token_bytes = _token_bytes(self._tokenizer)

    def encode(self, text: str) -> list[int]:
        """A plain prompt, with the begin token in front."""
        ids: list[int] = self._tokenizer.encode(text).ids
        return ids

    def encode_chat(self, messages: Sequence[tuple[str, str]], *, add_generation_prompt: bool = True) -> list[int]:
        """(role, text) pairs through the chat template; roles that the model never met become near ones."""
        known = [{"role": _ROLES.get(role, role), "content": content} for role, content in messages]
        prompt = self._template.render(
            messages=known, bos_token=self._bos, add_generation_prompt=add_generation_prompt
        )
        ids: list[int] = self._tokenizer.encode(prompt, add_special_tokens=False).ids
        return ids

    def decode(self, tokens: Sequence[int]) -> str:
        return b"".join(self.token_bytes[token] for token in tokens).decode(errors="replace")

    def token_text(self, token: int) -> str:
        """One token alone, markers by their name; bytes that are no character become U+FFFD."""
        return self.token_bytes[token].decode(errors="replace") or str(self._tokenizer.id_to_token(token))


def _token_bytes(tokenizer: Tokenizer) -> list[bytes]:
    """What each token adds to the text, as bytes; markers add nothing."""
    byte_of = {character: byte for byte, character in _byte_level_alphabet().items()}
    special = {token for token, added in tokenizer.get_added_tokens_decoder().items() if added.special}
    spelled = [tokenizer.id_to_token(token) or "" for token in range(tokenizer.get_vocab_size())]
    return [
        b"" if token in special else bytes(byte_of[character] for character in text)
        for token, text in enumerate(spelled)
    ]


def _byte_level_alphabet() -> dict[int, str]:
    """GPT-2's table: printable bytes stand for themselves, the others for U+0100 and up."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = (byte for byte in range(256) if byte not in printable)
    table = {byte: chr(byte) for byte in printable}
    return table | {byte: chr(0x100 + place) for place, byte in enumerate(others)}


class DeltaDecoder:
    """Tokens of one choice -> text deltas of whole characters, cut before the first stop string.

    Text that may be the start of a stop string is held back until it is known to be none.
    """

    def __init__(self, token_bytes: Sequence[bytes], stops: tuple[str, ...]) -> None:
        self._token_bytes = token_bytes
        self._characters = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._stops = stops
        self._held = ""
        self.matched_stop: str | None = None

    def push(self, token: int) -> str:
        """The text that may be shown now; sets `matched_stop` when a stop string is complete."""
        text = self._held + self._characters.decode(self._token_bytes[token])
        if not self._stops:
            return text
        found = [(text.index(stop), stop) for stop in self._stops if stop in text]
        if found:
            place, self.matched_stop = min(found)
            self._held = ""
            return text[:place]
        keep = max(_open_length(text, stop) for stop in self._stops)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def flush(self) -> str:
        """What was held back; an incomplete character at the very end is dropped."""
        held, self._held = self._held, ""
        return held


def _open_length(text: str, stop: str) -> int:
    """Length of the longest end of `text` that `stop` begins with."""
    longest = min(len(text), len(stop) - 1)
    return next((length for length in range(longest, 0, -1) if stop.startswith(text[-length:])), 0)

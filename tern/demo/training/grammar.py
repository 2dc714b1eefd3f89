"""A grammar as strings: `{a|b}` chooses, `<slot>` fills in, sentences start with a capital."""

from __future__ import annotations

import re
from random import Random

_CHOICE = re.compile(r"\{([^{}]*)\}")
_SLOT = re.compile(r"<(\w+)>")
_SENTENCE_START = re.compile(r"(^“?|[.!?]”? “?|, “)([a-zé])")


def expand(template: str, rng: Random, **slots: str) -> str:
    """One random sentence (or several) of the template; innermost choices are made first."""
    while found := _CHOICE.search(template):
        chosen = rng.choice(found[1].split("|"))
        template = template[: found.start()] + chosen + template[found.end() :]
    filled = _SLOT.sub(lambda slot: slots[slot[1]], template)
    return _SENTENCE_START.sub(lambda start: start[1] + start[2].upper(), filled)


def with_article(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def some(rng: Random, sentences: tuple[str, ...], least: int) -> str:
    """At least `least` of the sentences, in their order, as one text."""
    count = rng.randint(least, len(sentences))
    kept = sorted(rng.sample(range(len(sentences)), count))
    return " ".join(sentences[index] for index in kept)

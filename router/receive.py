"""Stop 1, bytes -> Call: read the few fields that decide, keep the bytes."""

from __future__ import annotations

from typing import Any, Final

from contracts.catalog import Operation
from router.call import Call
from router.errors import InvalidCallError, MediaTypeError
from router.members import DuplicateMemberError, Member, NotAnObjectError, members

GATEWAY_OWNED: Final = frozenset(
    {
        "priority",  # scheduling is the gateway's decision
        "request_id",  # ids are minted here
        "session_id",
        "n_predict",  # where a server knows it, it overrules the limits that are reserved for
        "cache_salt",  # separates the prefix caches of tenants
        "kv_transfer_params",
        "ec_transfer_params",
        "vllm_xargs",
        "chat_template",  # code that runs in the engine
        "mm_processor_kwargs",
    }
)
"""Members that a client may not set: dropped before the call is sent on."""

MAX_CHOICES: Final = 128
MAX_TOKENS: Final = 2**31 - 1
KEPT: Final = ("model", "stream_options")
"""Members that are edited later; the values of the others may be large and live no longer than they are read."""
STORED_STATE: Final = ("previous_response_id", "conversation")
"""Input that the body does not hold: nobody could bound it, nor say whose it is."""


def receive(operation: Operation, body: bytes) -> Call:
    """The Call in `body`; raises InvalidCallError with what is wrong and where."""
    text, found = _read_object(body)
    if not GATEWAY_OWNED.isdisjoint(found):
        text, found = _without_gateway_owned(text, found)
    model = _model(found)
    _check_input(operation, found)
    stream = _boolean(found, "stream")
    if stream and operation is Operation.EMBEDDING:
        raise _unsupported("stream", "Embeddings do not stream.")
    include, continuous = _usage_options(found) if stream else (False, False)
    per_prompt, choices = _choices(operation, found)
    images, image_bytes = _images(operation, found)
    return Call(
        operation=operation,
        text=text,
        members={name: found[name] for name in KEPT if name in found},
        model=model,
        stream=stream,
        include_usage=include,
        continuous_usage=continuous,
        choices=choices,
        choices_per_prompt=per_prompt,
        max_output_tokens=_max_tokens(operation, found),
        input_bytes=len(body) - image_bytes,
        images=images,
    )


def check_media_type(content_type: bytes | None, content_encoding: bytes | None) -> None:
    """Raises MediaTypeError unless the body is plain JSON; a missing type is taken for JSON."""
    if content_type is not None and content_type.partition(b";")[0].strip().lower() != b"application/json":
        raise MediaTypeError("The content type must be application/json.")
    if content_encoding is not None and content_encoding.strip().lower() not in (b"", b"identity"):
        raise MediaTypeError("The request body must not be encoded.")


def _read_object(body: bytes) -> tuple[str, dict[str, Member]]:
    if not body.strip():
        raise InvalidCallError("The request body is empty.", code="invalid_json")
    try:
        text = body.decode()
        return text, members(text)
    except UnicodeDecodeError as error:
        raise InvalidCallError("The request body is not UTF-8.", code="invalid_json") from error
    except DuplicateMemberError as error:
        name = str(error)[:200]
        raise InvalidCallError(f"'{name}' is given twice.", code="duplicate_parameter", param=name) from error
    except NotAnObjectError as error:
        raise InvalidCallError(f"The request body is no JSON object: {error}.", code="invalid_json") from error


def _without_gateway_owned(text: str, found: dict[str, Member]) -> tuple[str, dict[str, Member]]:
    kept = [text[member.name_at : member.end] for name, member in found.items() if name not in GATEWAY_OWNED]
    text = "{" + ",".join(kept) + "}"
    return text, members(text)


def _model(found: dict[str, Member]) -> str:
    model = _value(found, "model")
    if model is None:
        raise _missing("model")
    if not isinstance(model, str) or not model:
        raise _wrong_type("model", "a non-empty string")
    return model


_INPUTS: Final[dict[Operation, tuple[str, tuple[type, ...]]]] = {
    Operation.CHAT: ("messages", (list,)),
    Operation.COMPLETION: ("prompt", (str, list)),
    Operation.EMBEDDING: ("input", (str, list)),
    Operation.RESPONSE: ("input", (str, list)),
}


def _check_input(operation: Operation, found: dict[str, Member]) -> None:
    name, types = _INPUTS[operation]
    value: Any = _value(found, name)
    if value is None:
        raise _missing(name)
    if type(value) not in types or not (value or value == ""):
        raise _wrong_type(name, "a non-empty array" if types == (list,) else "a string or a non-empty array")
    if operation is Operation.RESPONSE:
        _check_stateless(found)
    if operation is Operation.CHAT and not all(isinstance(message, dict) for message in value):
        raise _wrong_type(name, "an array of objects")


def _check_stateless(found: dict[str, Member]) -> None:
    if _boolean(found, "background"):
        raise _unsupported("background", "Responses in the background are not supported.")
    for name in STORED_STATE:
        if _value(found, name) is not None:
            raise _unsupported(name, f"'{name}' is not supported: send the whole input with each call.")


def _usage_options(found: dict[str, Member]) -> tuple[bool, bool]:
    options = _value(found, "stream_options")
    if options is None:
        return False, False
    if not isinstance(options, dict):
        raise _wrong_type("stream_options", "an object")
    include = options.get("include_usage") is True
    return include, include and options.get("continuous_usage_stats") is True


def _choices(operation: Operation, found: dict[str, Member]) -> tuple[int, int]:
    """Choices per prompt and in all: an array of texts, or of arrays of tokens, is many prompts."""
    per_prompt = max(_integer(found, "n", 1, MAX_CHOICES) or 1, _integer(found, "best_of", 1, MAX_CHOICES) or 1)
    prompt = _value(found, "prompt") if operation is Operation.COMPLETION else None
    prompts = len(prompt) if isinstance(prompt, list) and isinstance(prompt[0], str | list) else 1
    return per_prompt, per_prompt * prompts


_MAX_TOKENS_NAMES: Final[dict[Operation, tuple[str, ...]]] = {
    Operation.CHAT: ("max_completion_tokens", "max_tokens"),
    Operation.COMPLETION: ("max_tokens",),
    Operation.EMBEDDING: (),
    Operation.RESPONSE: ("max_output_tokens",),
}


def _max_tokens(operation: Operation, found: dict[str, Member]) -> int | None:
    """The largest that is given: servers differ in which one counts."""
    given = [_integer(found, name, 0, MAX_TOKENS) for name in _MAX_TOKENS_NAMES[operation]]
    return max((count for count in given if count is not None), default=None)


def _images(operation: Operation, found: dict[str, Member]) -> tuple[int, int]:
    """How many images the input holds, and the bytes of their addresses or data. Only what stands where an engine
    looks for images is taken for one: anything else is text, and bounded as text."""
    if operation not in (Operation.CHAT, Operation.RESPONSE):
        return 0, 0
    items = _value(found, _INPUTS[operation][0])
    images = size = 0
    for item in items if isinstance(items, list) else ():
        for part in _parts(item):
            if isinstance(part, dict) and "image_url" in part:
                address = part["image_url"]
                address = address.get("url") if isinstance(address, dict) else address
                images += 1
                size += len(address.encode(errors="surrogatepass")) if isinstance(address, str) else 0
    return images, size


def _parts(item: Any) -> list[Any]:
    """What one message, or the output of one tool, is made of."""
    if not isinstance(item, dict):
        return []
    return [part for name in ("content", "output") if isinstance(item.get(name), list) for part in item[name]]


def _value(found: dict[str, Member], name: str) -> Any:
    member = found.get(name)
    return member.value if member else None


def _boolean(found: dict[str, Member], name: str) -> bool:
    value = _value(found, name)
    if value is None or isinstance(value, bool):
        return bool(value)
    raise _wrong_type(name, "a boolean")


def _integer(found: dict[str, Member], name: str, least: int, most: int) -> int | None:
    value = _value(found, name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise _wrong_type(name, "an integer")
    if not least <= value <= most:
        raise InvalidCallError(f"'{name}' must be between {least} and {most}.", param=name)
    return value


def _missing(name: str) -> InvalidCallError:
    return InvalidCallError(
        f"Missing required parameter: '{name}'.", code="missing_required_parameter", param=name
    )


def _unsupported(name: str, message: str) -> InvalidCallError:
    return InvalidCallError(message, code="unsupported_parameter", param=name)


def _wrong_type(name: str, expected: str) -> InvalidCallError:
    return InvalidCallError(f"'{name}' must be {expected}.", code="invalid_type", param=name)

"""What the operator may choose: `--additional-config '{"ternary": {"int8_head": true}}'`."""

from __future__ import annotations

from dataclasses import dataclass, fields

from vllm.config import get_current_vllm_config_or_none


@dataclass(frozen=True)
class TernaryOptions:
    """
    unpack_once    on a CPU: keep the dense float32 weights (4 bytes each, fast) instead of unpacking at every call
    resident_int8  on a GPU: keep an int8 copy (1 byte per weight) for prefill instead of unpacking at every call
    int8_head      the output head in int8 with one scale per row: half the bytes, changes the logits slightly
    most_tokens    how many tokens one step may hold: vLLM's own `--max-num-batched-tokens`, not set here
    """

    unpack_once: bool = True
    resident_int8: bool = False
    int8_head: bool = False
    most_tokens: int = 2048


def current_options() -> TernaryOptions:
    """The options of the model under construction; refuses a name or a type that does not exist."""
    config = get_current_vllm_config_or_none()
    additional = config.additional_config if config is not None else None
    given = additional.get("ternary", {}) if isinstance(additional, dict) else {}
    known = {field.name for field in fields(TernaryOptions) if isinstance(field.default, bool)}
    for name, value in given.items():
        if name not in known or not isinstance(value, bool):
            raise ValueError(
                f"additional_config.ternary.{name}: expected one of {sorted(known)} with true or false"
            )
    if config is None:
        return TernaryOptions(**given)
    return TernaryOptions(**given, most_tokens=config.scheduler_config.max_num_batched_tokens)

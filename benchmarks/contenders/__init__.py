"""The contenders in the order of the table."""

from __future__ import annotations

from benchmarks.contenders.contract import Contender
from benchmarks.contenders.direct import Direct
from benchmarks.contenders.litellm import LiteLLM
from benchmarks.contenders.portkey import Portkey
from benchmarks.contenders.sglang_router import SglangRouter
from benchmarks.contenders.tern import Tern
from benchmarks.contenders.vllm_router import VllmRouter


def all_contenders() -> list[Contender]:
    return [Direct(), Tern(), VllmRouter(), SglangRouter(), Portkey(), LiteLLM()]

"""Serve ternary (BitNet b1.58) checkpoints with vLLM: the plugin of entry point group `vllm.general_plugins`.

    __init__.py       register(), called by vLLM in the API server, the engine core and every worker
    config.py         TernaryConfig: claims BitNet checkpoints without a flag, gives each layer its method
    parameters.py     vLLM parameters that decode a whole checkpoint tensor, cut it for this rank, then pack it
    linear_method.py  TernaryLinearMethod: create, load, multiply; row parallel without a difference in one bit
    warm_up.py        compiles every kernel at load
    options.py        what the operator may choose
    int8_head.py      the optional int8 output head

The model class is in `ternary_kernels.models.bitnet`; Llama-type checkpoints use vLLM's own class.
"""

from __future__ import annotations

from importlib.util import find_spec

QUANTIZATION = "ternary"
ARCHITECTURES = ("BitNetForCausalLM", "BitnetForCausalLM")  # 2B-4T and its kin; the 1bitLLM masters
MODEL = "ternary_kernels.models.bitnet:BitNetForCausalLM"


def register() -> None:
    """Make the quantization method and the model class known to vLLM.

    Idempotent; does nothing where vLLM is absent; touches no device, so it is safe before a fork and
    without a GPU. The model class is named by a string and imported when a checkpoint asks for it.
    """
    if find_spec("vllm") is None:
        return
    from vllm.model_executor.layers.quantization import QUANTIZATION_METHODS
    from vllm.model_executor.models import ModelRegistry

    if QUANTIZATION not in QUANTIZATION_METHODS:
        from ternary_kernels.vllm_plugin import config  # noqa: F401  (its decorator registers the method)
    for architecture in ARCHITECTURES:
        if architecture not in ModelRegistry.models:
            ModelRegistry.register_model(architecture, MODEL)

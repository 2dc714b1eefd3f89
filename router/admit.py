"""Stop 3, model allowed? rate? money? -> Reservation."""

from __future__ import annotations

from datetime import datetime

from contracts.catalog import Model, Operation
from contracts.grant import Grant
from contracts.pricing import upper_bound_nano_usd
from router.call import Call
from router.errors import InvalidCallError, LedgerDownError, LimitReachedError, ModelNotFoundError
from router.open_calls import Admission
from router.ports import (
    EventSeed,
    Ledger,
    LedgerUnavailableError,
    PricedAmount,
    Refused,
    Reservation,
    ReserveRequest,
    UnpricedError,
)
from router.snapshot import Snapshot


def find_model(call: Call, grant: Grant, snapshot: Snapshot) -> Model:
    """The model the caller named; one that it may not use does not exist for it."""
    model = snapshot.model(call.model)
    if model is None or not grant.permits(model.id):
        raise ModelNotFoundError(call.model)
    if call.operation not in model.operations:
        message = f"The model `{call.model[:200]}` does not support /v1/{call.operation.value}."
        raise InvalidCallError(message, code="unsupported_endpoint", param="model")
    if call.max_output_tokens is not None and call.max_output_tokens > model.max_output_tokens:
        message = f"max_tokens is too large: {call.max_output_tokens}. "
        message += f"This model supports at most {model.max_output_tokens} completion tokens."
        raise InvalidCallError(message, param="max_tokens")
    return model


async def admit(
    call: Call,
    call_id: str,
    grant: Grant,
    model: Model,
    snapshot: Snapshot,
    ledger: Ledger,
    estimate_tokens: int,
    now: datetime,
) -> Admission:
    """Hold money, rate and a slot for the call; raises LimitReachedError and the other refusals.

    `estimate_tokens` is the learned output of one choice. What cannot be extended holds its worst case.
    """
    input_bound = call.input_bytes + call.images * model.image_input_tokens
    most = most_output_tokens(call, model)
    output = min(most, call.choices * estimate_tokens) if call.stream else most
    prices = snapshot.prices(model.id, now)
    if not prices:
        raise ModelNotFoundError(call.model)
    request = ReserveRequest(
        call_id=call_id,
        grant=grant,
        model_id=model.id,
        tokens=input_bound + output,
        amounts=tuple(PricedAmount(price, upper_bound_nano_usd(input_bound, output, price)) for price in prices),
        seed=EventSeed(call.operation, call.stream, input_bound),
    )
    return Admission(model, await _reserve(request, ledger, call), input_bound, output, most)


def most_output_tokens(call: Call, model: Model) -> int:
    """n x min(max_tokens, the model's limit)."""
    if call.operation is Operation.EMBEDDING:
        return 0
    limit = model.max_output_tokens
    return call.choices * (limit if call.max_output_tokens is None else min(call.max_output_tokens, limit))


async def _reserve(request: ReserveRequest, ledger: Ledger, call: Call) -> Reservation:
    try:
        verdict = await ledger.reserve(request)
    except LedgerUnavailableError as error:
        raise LedgerDownError from error
    except UnpricedError as error:
        raise ModelNotFoundError(call.model) from error
    if isinstance(verdict, Refused):
        raise LimitReachedError(verdict)
    return verdict

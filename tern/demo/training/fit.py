"""The training loop: AdamW, warm-up and linear decay, no weight decay in the second half.

The two halves follow the BitNet b1.58 recipe: latent weights are pulled towards zero early and left alone
later, so that their signs settle.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from tern.demo.training.network import BitNet

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Schedule:
    steps: int = 3000
    batch_size: int = 8
    sequence_length: int = 256
    peak_rate: float = 3e-3
    warmup_steps: int = 80
    weight_decay: float = 0.1
    seed: int = 1


def batches(tokens: Tensor, answers: Tensor, schedule: Schedule) -> Iterator[tuple[Tensor, Tensor]]:
    """Random windows (inputs, targets), [batch, time]; targets that are not an answer's are -100."""
    generator = torch.Generator().manual_seed(schedule.seed)
    window = torch.arange(schedule.sequence_length)
    for _ in range(schedule.steps):
        high = len(tokens) - schedule.sequence_length - 1
        starts = torch.randint(high, (schedule.batch_size, 1), generator=generator)
        targets = tokens[starts + window + 1].masked_fill(~answers[starts + window + 1], -100)
        yield tokens[starts + window], targets


def rate_at(step: int, schedule: Schedule) -> float:
    warm = min(1.0, (step + 1) / schedule.warmup_steps)
    return schedule.peak_rate * warm * max(0.02, 1 - step / schedule.steps)


def fit(model: BitNet, tokens: Tensor, answers: Tensor, schedule: Schedule) -> None:
    """Trains in place; the same seed gives the same weights on the same machine."""
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.95), weight_decay=schedule.weight_decay)
    started = time.process_time()
    for step, (inputs, targets) in enumerate(batches(tokens, answers, schedule)):
        for group in optimizer.param_groups:
            group["lr"] = rate_at(step, schedule)
            group["weight_decay"] = schedule.weight_decay if step < schedule.steps // 2 else 0.0
        loss = take_step(model, optimizer, inputs, targets)
        if step % 50 == 0:
            spent = time.process_time() - started
            log.info("step %d of %d, loss %.3f, %.0f CPU seconds", step, schedule.steps, loss, spent)


def take_step(model: BitNet, optimizer: torch.optim.Optimizer, inputs: Tensor, targets: Tensor) -> float:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(inputs)
    loss = functional.cross_entropy(logits.float().flatten(0, 1), targets.flatten())
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return float(loss.detach())

"""A whole run: start every contender, verify it, then measure them in interleaved rounds."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from benchmarks.contenders.contract import Contender, Site, Standing
from benchmarks.process import ContenderError, listening, pinned
from benchmarks.trial import PACE_SECONDS, Plan, Trial, run_trial, warm_up
from benchmarks.verify import verify
from tern.stack.process import free_port

ROOT = Path(__file__).parents[1]
NICENESS = -10
"""Where this process may: a neighbour on the machine then disturbs all contenders less."""
Tell = Callable[[str], None]


@dataclass
class Result:
    """What one contender showed; `absent` says why it has no trials."""

    name: str
    version: str
    trials: list[Trial] = field(default_factory=list)
    absent: str | None = None


@contextmanager
def run_site(work: Path) -> Iterator[Site]:
    """Divide the machine: gateways on the last core; this process, the model server and the parts on the first.

    Raises RuntimeError on a machine that lets this process use one core only.
    """
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise RuntimeError("a run needs two cores: one for the gateway, one for the load")
    os.sched_setaffinity(0, {cores[0]})
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, NICENESS)
    with model_server(cores[0], work) as url:
        yield Site(gateway_core=cores[-1], parts_core=cores[0], upstream_url=url, work=work)
    os.sched_setaffinity(0, cores)


@contextmanager
def model_server(core: int, work: Path) -> Iterator[str]:
    """The stub, pinned; yields its origin."""
    port, pace = free_port(), PACE_SECONDS * 1000
    command = [sys.executable, "-m", "benchmarks.upstream", "--port", str(port), "--pace-milliseconds", str(pace)]
    with listening("upstream", pinned(command, core), port, work / "logs", {}, run_in=ROOT):
        yield f"http://127.0.0.1:{port}"


def run_bench(contenders: Sequence[Contender], site: Site, plan: Plan, tell: Tell) -> list[Result]:
    """Contenders that cannot be installed, started or verified are kept in the result with the reason."""
    results = {contender.name: Result(contender.name, contender.version) for contender in contenders}
    with ExitStack() as stack:
        standing = {}
        for contender in contenders:
            tell(f"starting {contender.name} {contender.version}")
            try:
                standing[contender.name] = stand(contender, site, plan, stack)
            except ContenderError as reason:
                results[contender.name].absent = str(reason)
                tell(f"{contender.name}: {reason}")
        for number in range(1, plan.rounds + 1):
            for name, ready in standing.items():
                tell(f"round {number} of {plan.rounds}: {name}")
                measure(results[name], ready, plan)
    return list(results.values())


def stand(contender: Contender, site: Site, plan: Plan, stack: ExitStack) -> Standing:
    contender.install(site.work)
    standing = stack.enter_context(contender.start(site))
    uvloop.run(verify(standing.target, PACE_SECONDS))
    uvloop.run(warm_up(standing, plan))
    return standing


def measure(result: Result, standing: Standing, plan: Plan) -> None:
    """A contender that hangs or dies is reported as it is; its earlier trials stay."""
    if result.absent is not None:
        return
    try:
        result.trials.append(uvloop.run(run_trial(standing, plan)))
    except* (OSError, TimeoutError) as failure:
        result.absent = f"failed under load: {type(failure.exceptions[0]).__name__}"

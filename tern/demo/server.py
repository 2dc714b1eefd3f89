"""`python -m tern.demo.server`: the demo backend, an OpenAI-compatible server of one small ternary model.

It is not vLLM; it speaks vLLM's wire so that the router can be tried without a GPU. Once it accepts
connections it writes one JSON line to stdout: `{"event": "listening", "address": ..., "model": ...}`.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
from pathlib import Path

CHECKPOINT = Path(__file__).parent / "checkpoint"
DEFAULT_NAME = "tern-demo"


def main() -> None:
    options = parse_options()
    # One BLAS thread: the model is small, and replicas share the machine. Read when numpy is first imported,
    # hence the late import of what needs it.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from tern.demo.app import create_app
    from tern.demo.checkpoint import CheckpointError

    try:
        app = create_app(options.model, options.name, options.max_num_seqs, options.max_model_len)
        listener = socket.create_server((options.host, options.port), backlog=1024)
    except (CheckpointError, OSError) as fault:
        sys.exit(f"tern demo backend: {fault}")
    host, port = listener.getsockname()[:2]
    announce(address=f"http://{host}:{port}", model=options.name, server="tern-demo-backend")
    serve(app, listener)


def serve(app: object, listener: socket.socket) -> None:
    import uvicorn

    config = uvicorn.Config(
        app,  # type: ignore[arg-type]
        log_level="warning",
        access_log=False,
        server_header=False,
        headers=[("server", "tern-demo-backend")],
        timeout_graceful_shutdown=5,
    )
    uvicorn.Server(config).run(sockets=[listener])


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tern.demo.server", description=__doc__)
    parser.add_argument("--model", type=Path, default=CHECKPOINT, help="directory of the checkpoint")
    parser.add_argument("--name", default=DEFAULT_NAME, help="name under which the model is served")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free port")
    parser.add_argument("--max-num-seqs", type=int, default=16, help="choices written at the same time")
    parser.add_argument("--max-model-len", type=int, default=None, help="prompt and answer together, in tokens")
    return parser.parse_args()


def announce(**facts: str) -> None:
    print(json.dumps({"event": "listening", **facts}), flush=True)


if __name__ == "__main__":
    main()

"""`python -m tern.demo.training`: corpus, tokenizer, training and export; at most 20 CPU minutes."""

from __future__ import annotations

import argparse
import logging
from itertools import islice
from pathlib import Path

import torch

from tern.demo.training.corpus import documents, texts_of
from tern.demo.training.encode import encode
from tern.demo.training.export import save_model
from tern.demo.training.fit import Schedule, fit
from tern.demo.training.network import BitNet, Shape
from tern.demo.training.parity import check_parity
from tern.demo.training.tokenizer import BOS, END, PAD, save_tokenizer, train_tokenizer

DEFAULT_OUT = Path(__file__).parent.parent / "checkpoint"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tern.demo.training", description=__doc__)
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, help="where the checkpoint is written")
    parser.add_argument("--steps", type=int, default=Schedule.steps)
    parser.add_argument("--documents", type=int, default=60_000)
    parser.add_argument("--seed", type=int, default=Schedule.seed)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    make_checkpoint(options.out, Schedule(steps=options.steps, seed=options.seed), options.documents)


def make_checkpoint(out: Path, schedule: Schedule, document_count: int) -> None:
    out.mkdir(parents=True, exist_ok=True)
    shape = Shape()
    corpus = list(islice(documents(schedule.seed), document_count))
    texts = (text for document in corpus[: document_count // 4] for text in texts_of(document))
    tokenizer = train_tokenizer(texts, shape.vocab_size)
    save_tokenizer(tokenizer, out, shape.max_position_embeddings)
    model = BitNet(shape)
    fit(model, *encode(tokenizer, corpus), schedule)
    ids = {f"{kind}_token_id": tokenizer.token_to_id(t) for kind, t in (("bos", BOS), ("eos", END), ("pad", PAD))}
    save_model(model, out, ids)
    logging.info("largest difference to a dense forward pass: %.6f", check_parity(out))


if __name__ == "__main__":
    main()

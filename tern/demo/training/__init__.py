"""Makes the shipped checkpoint again: corpus, tokenizer, quantisation-aware training, export.

Needs torch, which the server does not: `python -m tern.demo.training --out DIR`.
"""

"""Ternary (BitNet b1.58) linear layers on 2-bit weights: packing, golden reference, Triton kernels, dispatch,
torch ops.

Importing the package imports nothing heavy: torch and Triton are loaded by the modules that need them
(`packing`, `reference`, `cpu`, `ops`, ...), so that a plugin loader may touch it in every process.
"""

"""The demo backend: a small real ternary model and its OpenAI-compatible server. It is not vLLM."""

"""Model classes that vLLM does not have. Imported by vLLM on demand, by name."""

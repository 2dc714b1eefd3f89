"""One question per file; bound parameters only."""

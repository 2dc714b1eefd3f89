"""The floor: what crosses a wire between rooms, and what all of them promise alike (settings, log lines, traces).
Standard library and pydantic only, no I/O."""

"""The floor: what crosses a wire between rooms. Standard library and pydantic only, no I/O."""

"""Which models a project or key may use."""

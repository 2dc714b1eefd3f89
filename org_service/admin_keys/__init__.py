"""Admin keys."""

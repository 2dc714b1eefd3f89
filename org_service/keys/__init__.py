"""Project keys."""

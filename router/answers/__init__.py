"""What comes back from an upstream, read as it passes."""

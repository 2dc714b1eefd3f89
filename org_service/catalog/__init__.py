"""Models, aliases, upstreams and prices of this deployment."""

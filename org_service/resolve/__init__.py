"""What routers and analytics ask."""

"""ASGI endpoints: each only strings the stops together."""

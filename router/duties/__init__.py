"""What runs beside requests: each duty is one coroutine, started by the lifespan of router.app."""

"""The data plane: authenticates, admits, relays and settles calls. Stateless; any number of replicas."""

"""Money: the ledger on Redis, its twin in memory, and what stands around them when a part is away."""

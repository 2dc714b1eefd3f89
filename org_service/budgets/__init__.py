"""Spend, rate and concurrency limits."""

"""What was used and what it cost: a worker that records usage events and an API that answers for them."""

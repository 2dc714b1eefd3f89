"""The servers that answer: their health, and the connections to them."""

"""The load harness: Tern, the peers and no gateway at all, side by side in one run. See README.md here."""

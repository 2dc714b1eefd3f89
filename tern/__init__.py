"""What a person types: the `tern` command and the local stack."""

"""The statements of the steps."""

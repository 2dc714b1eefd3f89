"""The local stack: embedded parts as child processes, and the one process that serves all three apps."""

"""Training: the loop, its learning rate, what survives it (checkpoint) and what it shows (progress)."""

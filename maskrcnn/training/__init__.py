"""Training: the loop on one page, and beside it optimiser, schedule, checkpoints, progress and stopping."""

"""What training asks of each stage: which boxes should find what, on which of them to learn, and how wrong they are."""

"""What stands in for a part of the network in the paper's ablations (table 2); `parts.py` chooses among them."""

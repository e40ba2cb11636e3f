"""Data sets: each hands out `Sample`s, and the loader makes a `Batch` of them."""

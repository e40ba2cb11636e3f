"""How counts are said."""

from __future__ import annotations


def counted(number: int, plural: str) -> str:
    """`1 word`, `1,234 words`: a count and what was counted, a noun whose plural has an "s" and nothing else."""
    return f"{number:,} {plural.removesuffix('s') if number == 1 else plural}"

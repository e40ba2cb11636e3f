"""COCO's compressed strings of counts, bit by bit; `maskrcnn.ops.run_length` reads and writes them.

Each count from the fourth on is stored as its difference to the count two before it: neighbouring columns of a mask
look alike, so the differences are small. A number is cut into groups of five bits, the lowest first, as many as it
takes until the highest bit of the last group tells the sign. A group is one character, counted from "0"; those that
are followed by another group lie 32 further on.
"""

from __future__ import annotations


def to_string(counts: list[int]) -> str:
    """The compressed string of a list of counts."""
    text = ""
    for index, count in enumerate(counts):
        number = count - counts[index - 2] if index > 2 else count
        while True:
            group = number % 32
            number = number // 32  # rounds down, so a negative number ends at -1
            finished = number == (-1 if group >= 16 else 0)
            text += chr(ord("0") + group + (0 if finished else 32))
            if finished:
                break
    return text


def from_string(text: str) -> list[int]:
    """The list of counts in a compressed string."""
    counts: list[int] = []
    number, worth = 0, 1
    for character in text:
        group = ord(character) - ord("0")
        number += group % 32 * worth
        worth *= 32
        if group < 32:  # the last of its number
            if group >= 16:
                number -= worth
            counts.append(number + counts[-2] if len(counts) > 2 else number)
            number, worth = 0, 1
    return counts

"""JSON files of records: a key that is there twice. What else may be wrong in them, `test_hostile_coco.py` tries."""

import pytest

from maskrcnn.data.json_records import parse_json


def test_of_many_keys_the_one_that_is_there_twice_is_named():
    """200,000 keys: looked for among all the others, one after the other, they would take a quarter of an hour."""
    keys = [*(f"key {number}" for number in range(200_000)), "key 199999"]
    content = "{" + ", ".join(f'"{key}": 0' for key in keys) + "}"
    with pytest.raises(ValueError, match=r"^many\.json: found .* \(key 'key 199999' twice in one object\)"):
        parse_json(content.encode(), "many.json")

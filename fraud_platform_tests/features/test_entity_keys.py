"""Keys are the digests that stores hold: they must not change."""

import hashlib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fraud_platform.features.entity_keys import Entity, EntityKeys

ENTITIES: list[Entity] = [("a",), ("b",), ("a", "b"), ("b", "a"), ("a", "b", "c")]

values = st.none() | st.text(max_size=20) | st.integers() | st.floats()


@given(st.fixed_dictionaries({}, optional=dict.fromkeys("abc", values)))
def test_a_key_is_the_digest_of_its_columns_and_values_and_there_is_none_with_a_null_part(
    event: dict[str, Any],
) -> None:
    expected = {
        entity: hashlib.blake2b(
            "\x1f".join((*entity, *(str(event[name]) for name in entity))).encode(), digest_size=16
        ).digest()
        for entity in ENTITIES
        if all(event.get(name) is not None for name in entity)
    }
    assert EntityKeys(ENTITIES).of(event) == expected


def test_a_key_does_not_change_from_one_version_to_the_next() -> None:
    keys = EntityKeys([("customer_id",), ("customer_id", "merchant_id")])
    assert [key.hex() for key in keys.of({"customer_id": "ann", "merchant_id": "März"}).values()] == [
        "76f5411c2ac223bb7f4d019708528e82",
        "2c3ebb742d79df3f99fa4280faffb1d9",
    ]

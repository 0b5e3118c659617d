"""What a state is stored under: a digest of columns and values, so that a key of any length fits any store."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

Entity = tuple[str, ...]
"""The columns whose values together are a key."""

_SEPARATOR = b"\x1f"


class EntityKeys:
    """The keys of some entities."""

    def __init__(self, entities: Iterable[Entity]) -> None:
        self._begun = {entity: hashlib.blake2b(_begin(entity), digest_size=16) for entity in entities}
        self._columns = sorted({name for entity in self._begun for name in entity})

    def of(self, event: Mapping[str, Any]) -> dict[Entity, bytes]:
        """The event's key for each entity; an entity with a null part has none."""
        texts = {name: str(value).encode() for name in self._columns if (value := event.get(name)) is not None}
        found: dict[Entity, bytes] = {}
        for entity, begun in self._begun.items():
            if len(entity) == 1:
                text = texts.get(entity[0])
            else:
                parts = [texts[name] for name in entity if name in texts]
                text = _SEPARATOR.join(parts) if len(parts) == len(entity) else None
            if text is not None:
                digest = begun.copy()
                digest.update(text)
                found[entity] = digest.digest()
        return found


def _begin(entity: Entity) -> bytes:
    """What every key of the entity begins with."""
    return b"".join(name.encode() + _SEPARATOR for name in entity)

"""The part of the catalog that one source can have, and the fingerprint that a model carries of it."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from fraud_platform.errors import CatalogError
from fraud_platform.features.catalog import FEATURES, Feature
from fraud_platform.features.expressions import (
    DAY,
    KNOWN_FRAUD,
    Call,
    Column,
    Expression,
    Rolling,
    Window,
    columns_of,
    step_of,
    walk,
)
from fraud_platform.transactions.sources import Source

FINGERPRINT_LENGTH = 16


MAX_LABEL_DELAY_US = 180 * DAY
DEFAULT_LABEL_DELAY_DAYS = 7
"""For a source without labels: its fraud rates are 0 until labels come back from elsewhere."""


@dataclass(frozen=True)
class CatalogOrigin:
    """What a catalog is made from, and its fingerprint: enough to make it again where the source is not at hand.

    Attributes:
        columns_given: the contract columns that the source gives, sorted.
        attributes: the source's numeric attributes, in order.
        label_delay_us: how old an event must be for its label to be used, microseconds.
        fingerprint: of the catalog's names, formulas and delay.
    """

    columns_given: tuple[str, ...]
    attributes: tuple[str, ...]
    label_delay_us: int
    fingerprint: str


@dataclass(frozen=True)
class Catalog:
    """The features that one source can have.

    Attributes:
        features: in the order of the model's input columns.
        columns_given: the contract columns that the source gives, sorted.
        attributes: the source's numeric attributes, in order.
        label_delay_us: how old an event must be for its label to be used, microseconds.
        dropped: features that the source cannot have, with the columns that it lacks.
    """

    features: tuple[Feature, ...]
    columns_given: tuple[str, ...]
    attributes: tuple[str, ...]
    label_delay_us: int
    dropped: Mapping[str, tuple[str, ...]]

    @cached_property
    def names(self) -> list[str]:
        """The model's input columns."""
        return [feature.name for feature in self.features]

    @cached_property
    def rollings(self) -> dict[tuple[str, ...], list[Rolling]]:
        """Every rolling aggregate that a formula uses, once, by entity."""
        found = dict.fromkeys(
            part for feature in self.features for part in walk(feature.formula) if isinstance(part, Rolling)
        )
        by_entity: dict[tuple[str, ...], list[Rolling]] = {}
        for rolling in found:
            by_entity.setdefault(rolling.entity, []).append(rolling)
        return by_entity

    @cached_property
    def all_rollings(self) -> list[Rolling]:
        """Every rolling aggregate, entity by entity: the rows of an aggregate matrix."""
        return [rolling for group in self.rollings.values() for rolling in group]

    @cached_property
    def formula_columns(self) -> list[str]:
        """The columns that formulas read of the event itself: the rows of a column matrix."""
        parts = (part for feature in self.features for part in _of_the_event(feature.formula))
        return sorted({part.name for part in parts if isinstance(part, Column)})

    @cached_property
    def inputs(self) -> list[Expression]:
        """The formulas that rolling aggregates fold, each once."""
        return list(dict.fromkeys(rolling.column for rolling in self.all_rollings if rolling.column is not None))

    @cached_property
    def input_columns(self) -> list[str]:
        """The columns that `inputs` read: the rows of a column matrix."""
        return sorted(frozenset[str]().union(*map(columns_of, self.inputs)))

    @cached_property
    def columns(self) -> frozenset[str]:
        """The transaction columns that any formula reads, keys included."""
        return frozenset().union(*(columns_of(feature.formula) for feature in self.features))

    @cached_property
    def look_back_us(self) -> int:
        """How long before an event the oldest event lies that any of its features sees, microseconds."""
        windows = map(self.window, self.all_rollings)
        return max((window.reach_us + 2 * window.step_us for window in windows), default=0)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of every name, formula and delay: equal only where the features are."""
        canonical = [self.label_delay_us, [[f.name, repr(f.formula)] for f in self.features]]
        return hashlib.sha256(json.dumps(canonical).encode()).hexdigest()[:FINGERPRINT_LENGTH]

    @property
    def origin(self) -> CatalogOrigin:
        """What `rebuild_catalog` makes this catalog from."""
        return CatalogOrigin(self.columns_given, self.attributes, self.label_delay_us, self.fingerprint)

    @property
    def label_delay_days(self) -> int:
        """The label delay in whole days."""
        return self.label_delay_us // DAY

    def window(self, rolling: Rolling) -> Window:
        """What the aggregate looks at, with this source's label delay."""
        delay = self.label_delay_us if rolling.delayed else 0
        return Window(rolling.span_us, step_of(rolling.span_us + delay), delay)


def _of_the_event(formula: Expression) -> Iterator[Expression]:
    """The parts of a formula outside of its rolling aggregates."""
    yield formula
    if isinstance(formula, Call):
        for argument in formula.arguments:
            if isinstance(argument, (Call, Column)):
                yield from _of_the_event(argument)


def build_catalog(present: Iterable[str], attributes: Iterable[str], label_delay_us: int) -> Catalog:
    """The catalog of a source.

    Args:
        present: the contract columns that the source gives.
        attributes: names of the source's numeric attributes.
        label_delay_us: the source's label delay, microseconds.

    Raises:
        CatalogError: if an attribute has the name of a feature, or the delay is not usable.
    """
    if not 0 <= label_delay_us <= MAX_LABEL_DELAY_US or label_delay_us % DAY:
        raise CatalogError(
            f"labels.delay_days must be a whole number from 0 to {MAX_LABEL_DELAY_US // DAY}, "
            f"got {label_delay_us / DAY:g}."
        )
    given, attributes = tuple(sorted(present)), tuple(attributes)
    known = {feature.name for feature in FEATURES}
    if clash := sorted(known.intersection(attributes)):
        raise CatalogError(f"Attributes {clash} have the names of features. Rename them in the source's `attributes`.")
    available = {"event_us", KNOWN_FRAUD, *given, *attributes}
    candidates = (*FEATURES, *(Feature(name, "attribute of the source", Column(name)) for name in attributes))
    missing = {feature.name: tuple(sorted(columns_of(feature.formula) - available)) for feature in candidates}
    return Catalog(
        features=tuple(feature for feature in candidates if not missing[feature.name]),
        columns_given=given,
        attributes=attributes,
        label_delay_us=label_delay_us,
        dropped={name: columns for name, columns in missing.items() if columns},
    )


def rebuild_catalog(origin: CatalogOrigin) -> Catalog:
    """The catalog that a model was trained on.

    Raises:
        CatalogError: if this code's features are not the model's.
    """
    catalog = build_catalog(origin.columns_given, origin.attributes, origin.label_delay_us)
    if catalog.fingerprint != origin.fingerprint:
        raise CatalogError(
            f"The model was trained on catalog {origin.fingerprint}, and this code computes "
            f"{catalog.fingerprint}. Train the model again, or serve it from the Bento that it was packaged in."
        )
    return catalog


def catalog_of(source: Source) -> Catalog:
    """The catalog of a source, from its mapping."""
    numeric = [name for name, attribute in source.attributes.items() if attribute.type == "number"]
    delay_days = source.labels.delay_days if source.labels else DEFAULT_LABEL_DELAY_DAYS
    return build_catalog(source.present, numeric, delay_days * DAY)

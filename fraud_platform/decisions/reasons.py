"""Why a payment is suspicious: the features that push its probability up, in an analyst's words."""

from collections import ChainMap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from fraud_platform.decisions import wording
from fraud_platform.decisions.journal import Reason
from fraud_platform.decisions.phrasing import Facts, fill
from fraud_platform.errors import ArtefactError
from fraud_platform.features.catalog import Feature
from fraud_platform.features.expressions import SECOND, Call, Column, Expression, Rolling
from fraud_platform.features.selection import Catalog
from fraud_platform.models.explanation import Contributions


class Explains(Protocol):
    """What is asked of an explainer; `models.explanation.Explainer` is one."""

    @property
    def feature_columns(self) -> tuple[str, ...]: ...

    def contributions(self, vector: NDArray[np.float32], probability: float | None = None) -> Contributions: ...


class Reasons:
    """Words for the decisions of one model. May be called from several threads at once.

    Raises:
        ArtefactError: if the model's inputs are not the catalog's features.
    """

    def __init__(self, catalog: Catalog, explainer: Explains) -> None:
        if list(explainer.feature_columns) != catalog.names:
            raise ArtefactError(
                f"The model's inputs are not the features of catalog {catalog.fingerprint}. Train it again, or serve "
                "it from the Bento that it was packaged in."
            )
        self._explainer = explainer
        self._names = catalog.names
        self._sayings = [_saying(feature, catalog.attributes) for feature in catalog.features]
        self._topics = _topics(catalog.names)
        self._label_delay = catalog.label_delay_us / SECOND or None

    def of(
        self, event: Mapping[str, Any], vector: NDArray[np.float32], limit: int = 5, probability: float | None = None
    ) -> tuple[Reason, ...]:
        """What pushes the probability of a payment up, at most `limit` reasons, the heaviest first.

        Features that speak of the same thing are one reason, and so are those that say the same: its contribution is
        their sum, and its words, feature and value are those of the one that pushes most.

        Args:
            event: the columns of the transaction, None for missing.
            vector: float32 (d,), its features in the catalog's order; NaN = missing.
            probability: what the model gave it, as `Explainer.contributions` takes it.
        """
        values = self._explainer.contributions(vector, probability).values
        facts = self._facts(event, vector)
        places: dict[str, int] = {}
        weights: dict[str, float] = {}
        for members in self._topics:
            place = int(members[np.argmax(values[members])])
            text = self._text(place, facts)
            if text not in places or values[place] > values[places[text]]:
                places[text] = place
            weights[text] = weights.get(text, 0.0) + float(values[members].sum())
        heaviest = sorted((text for text in weights if weights[text] > 0.0), key=lambda text: -weights[text])[:limit]
        return tuple(self._reason(places[text], text, weights[text], facts) for text in heaviest)

    def _facts(self, event: Mapping[str, Any], vector: NDArray[np.float32]) -> dict[str, Any]:
        """All that sentences may speak of. An attribute is in both, and exact in the event."""
        features = zip(self._names, vector.tolist(), strict=True)
        known = {name: value for name, value in features if value == value}
        given = {name: value for name, value in event.items() if value is not None}
        return {**known, **given, "_label_delay": self._label_delay}

    def _reason(self, place: int, text: str, weight: float, facts: Facts) -> Reason:
        value = facts.get(self._names[place])
        return Reason(self._names[place], text, None if value is None else float(value), weight)

    def _text(self, place: int, facts: dict[str, Any]) -> str:
        saying = self._sayings[place]
        value = facts.get(self._names[place])
        own = {"value": value, "_called": saying.called}
        if value is not None:
            return fill(saying.zero if value == 0 else saying.text, ChainMap(own, facts))
        unknown = next((wording.COLUMNS[column] for column in saying.columns if facts.get(column) is None), None)
        return fill(saying.missing if unknown is None else f"{unknown} is not known", ChainMap(own, facts))


class _Saying(NamedTuple):
    """What a feature is called, its sentences, and the columns without which it has no value."""

    called: str
    text: str
    zero: str
    missing: str
    columns: Sequence[str]


def _saying(feature: Feature, attributes: Sequence[str]) -> _Saying:
    """An attribute is said by its name, and a feature that has no words yet by its meaning."""
    if feature.name in attributes:
        called, text, missing = (
            feature.name.replace("_", " "),
            "{_called:text} is {value:number}",
            "{_called:text} is not known",
        )
    else:
        called, text, missing = feature.meaning, "{_called:text}: {value:number}", "{_called:text}: not known"
    text = wording.TEXTS.get(feature.name, text)
    columns = [column for column in _columns_of_the_event(feature.formula) if column in wording.COLUMNS]
    zero = wording.ZEROS.get(feature.name, text)
    return _Saying(called, text, zero, wording.MISSING.get(feature.name, missing), columns)


def _columns_of_the_event(formula: Expression | float | str) -> Iterator[str]:
    """The columns that a transaction must give for the formula to have a value: not those of earlier ones."""
    if isinstance(formula, Column):
        yield formula.name
    elif isinstance(formula, Rolling):
        yield from formula.entity
    elif isinstance(formula, Call):
        for argument in formula.arguments:
            yield from _columns_of_the_event(argument)


def _topics(names: Sequence[str]) -> list[NDArray[np.int64]]:
    """The places of the features that speak of the same thing, together."""
    of = {name: topic for topic, members in enumerate(wording.TOPICS) for name in members}
    places: dict[int | str, list[int]] = {}
    for place, name in enumerate(names):
        places.setdefault(of.get(name, name), []).append(place)
    return [np.array(members, np.int64) for members in places.values()]

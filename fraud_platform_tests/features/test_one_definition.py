"""A feature is defined in one place: nothing else names one, and one more line is picked up by every execution."""

import ast
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pytest

from fraud_platform.features import selection
from fraud_platform.features.batch import compute_features
from fraud_platform.features.catalog import AMOUNT, CUSTOMER, FEATURES, Feature, maximum, minimum, ratio
from fraud_platform.features.expressions import DAY, HOUR, MINUTE
from fraud_platform.features.functions import FUNCTIONS
from fraud_platform.features.online import OnlineFeatures
from fraud_platform.features.selection import Catalog, build_catalog
from fraud_platform.features.sql import features_sql
from fraud_platform.transactions.contract import TRANSACTION_COLUMNS

ROOT = Path(__file__).resolve().parents[2]
CATALOG_MODULE = "fraud_platform/features/catalog.py"
OPS = {CATALOG_MODULE, "fraud_platform/features/functions.py", "fraud_platform/features/expressions.py"}
"""Where formulas are written, and what they are written in."""

OTHERS = sorted(
    str(path.relative_to(ROOT))
    for folder in ("fraud_platform", "bentos")
    for path in (ROOT / folder).rglob("*.py")
    if str(path.relative_to(ROOT)) not in OPS
)
WORDING = "fraud_platform/decisions/wording.py"
"""Says of each feature what it means to an analyst, and so names them; it makes none."""
ORDINARY_WORDS = {"add", "amount", "between", "deviation", "micro", "minimum", "weekday"}
WORDS_OF_FORMULAS = (set(FUNCTIONS) | {feature.name for feature in FEATURES}) - ORDINARY_WORDS
"""What a formula is recognised by."""


@pytest.mark.parametrize("module", OTHERS)
def test_no_other_module_mentions_a_formula(module: str) -> None:
    tree = ast.parse((ROOT / module).read_text())
    documentation = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    words = {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation
    }
    mentioned = {word for word in WORDS_OF_FORMULAS if word in words or any(f'"{word}"' in text for text in words)}
    if module == WORDING:
        mentioned -= {feature.name for feature in FEATURES}
    made = [
        ast.unparse(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in {"Rolling", "Call", "Feature"}
        and not (node.func.id == "Feature" and "Column(" in ast.unparse(node))  # an attribute as it is
    ]
    assert mentioned == set() and made == []


NEW = (
    Feature("customer_amount_min_1h", "smallest amount of the customer, 1 hour", minimum(CUSTOMER, AMOUNT, HOUR)),
    Feature(
        "amount_to_customer_max_10m",
        "amount as a multiple of the customer's largest, 10 minutes",
        ratio(AMOUNT, maximum(CUSTOMER, AMOUNT, 10 * MINUTE)),
    ),
)
"""Two features that the catalog does not have."""


@pytest.fixture
def extended(monkeypatch: pytest.MonkeyPatch) -> Catalog:
    monkeypatch.setattr(selection, "FEATURES", (*FEATURES, *NEW))
    return build_catalog({"customer_id", "amount_cents"}, [], 7 * DAY)


EVENTS = pl.DataFrame(
    {
        "transaction_id": ["a", "b", "c"],
        "event_us": [1_700_000_000_000_000, 1_700_000_060_000_000, 1_700_001_800_000_000],
        "customer_id": ["ann"] * 3,
        "amount_cents": [500, 200, 800],
        "known_fraud": [0, 0, 0],
    }
)
EXPECTED = [[np.nan, np.nan], [500, 0.4], [200, np.nan]]


def test_one_more_line_is_a_new_catalog(extended: Catalog) -> None:
    assert extended.names[-2:] == [feature.name for feature in NEW]
    assert extended.fingerprint != build_catalog(TRANSACTION_COLUMNS, [], 7 * DAY).fingerprint


def test_batch_picks_it_up(extended: Catalog) -> None:
    np.testing.assert_allclose(compute_features(EVENTS, extended)[:, -2:], EXPECTED)


def test_online_picks_it_up(extended: Catalog) -> None:
    online, states, found = OnlineFeatures(extended), {}, []
    for row in EVENTS.to_dicts():
        keys = online.keys(row)
        features = online.compute(row, keys, {key: states.get(key) for key in keys.values()})
        states |= features.states
        found.append(features.vector[-2:])
    np.testing.assert_allclose(found, EXPECTED)


def test_sql_picks_it_up(extended: Catalog) -> None:
    with duckdb.connect() as connection:
        connection.register("events", EVENTS.to_arrow())
        names = ", ".join(feature.name for feature in NEW)
        rows = connection.sql(
            f"SELECT {names} FROM ({features_sql(extended, 'duckdb', 'events')}) ORDER BY event_us"
        ).pl()
    np.testing.assert_allclose(rows.to_numpy(), EXPECTED)

"""The promise: history sent to the service gives what batch made of it, to the last bit."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from fraud_platform.decisions.router import Candidate, Router
from fraud_platform.decisions.scorer import Scorer
from fraud_platform.defs.service import running_service
from fraud_platform.features.stores.lmdb import LmdbStore
from fraud_platform.models.artefact import Artefact
from fraud_platform.settings import Settings
from fraud_platform.transactions.request import TransactionDecoder
from fraud_platform_tests.bentos.conftest import LastDay

pytestmark = pytest.mark.slow


def replay(last: LastDay, store: LmdbStore) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """The day through decoder, scorer and store: the model inputs (n, d), and the probabilities (n,)."""
    vectors: list[NDArray[np.float32]] = []

    def predict(matrix: NDArray[np.float32]) -> NDArray[np.float64]:
        vectors.append(matrix[0].copy())
        return last.artefact.predict(matrix)

    recording = cast(Artefact, SimpleNamespace(card=last.artefact.card, predict=predict))
    scorer, decoder = (
        Scorer(Router(Candidate("1", recording)), last.catalog, store),
        TransactionDecoder(last.catalog.attributes),
    )
    decisions = [scorer.score(decoder.decode(msgspec.json.encode(request))) for request in last.requests]
    return np.array(vectors), np.array([decision.fraud_probability for decision in decisions])


def test_the_last_day_replayed_gives_the_features_and_scores_of_batch(
    last_day_of_batch: LastDay, the_day_before: Settings
) -> None:
    store = LmdbStore(the_day_before.online_store, map_bytes=1 << 28)
    vectors, probabilities = replay(last_day_of_batch, store)
    store.close()
    assert len(vectors) > 500
    np.testing.assert_array_equal(vectors, last_day_of_batch.features)
    np.testing.assert_array_equal(probabilities, last_day_of_batch.probabilities)


def test_the_last_day_sent_to_a_service_of_two_workers_gives_the_scores_of_batch(
    last_day_of_batch: LastDay, the_day_before: Settings, bento: str, tmp_path: Path
) -> None:
    with running_service(the_day_before, bento, tmp_path / "run", workers=2) as client:
        answers = [_predict(client, request, number) for number, request in enumerate(last_day_of_batch.requests)]
    probabilities = np.array([answer["fraud_probability"] for answer in answers])
    np.testing.assert_array_equal(probabilities, last_day_of_batch.probabilities)


def _predict(client: httpx.Client, request: dict[str, Any], number: int) -> dict[str, Any]:
    """Every tenth request closes its connection, so that either worker gets its share."""
    headers = {"Connection": "close"} if number % 10 == 0 else {}
    response = client.post("/predict", json=request, headers=headers)
    assert response.status_code == 200, response.text
    return response.json()

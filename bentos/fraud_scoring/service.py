"""The BentoML service: loads the model and the store in each worker, and mounts the routes."""

import gc
from pathlib import Path

import bentoml
from bentoml.models import BentoModel

from bentos.fraud_scoring.api import Service, build_app
from fraud_platform.decisions.scorer import Scorer
from fraud_platform.features.catalog import rebuild_catalog
from fraud_platform.features.stores.lmdb import LmdbStore
from fraud_platform.models.artefact import Artefact
from fraud_platform.settings import load_settings
from fraud_platform.transactions.request import TransactionDecoder

MODEL = "fraud_model"

_service = Service()


@bentoml.asgi_app(build_app(_service), path="/")
@bentoml.service(
    name="fraud_scoring",
    workers=1,
    traffic={"timeout": 10},
    tracing={"excluded_urls": ".*"},
    logging={"access": {"enabled": False}},
)
class FraudScoring:
    """Scores payments as they happen."""

    model = BentoModel(f"{MODEL}:latest")

    def __init__(self) -> None:
        artefact = Artefact.load(Path(self.model.path))
        card = artefact.card
        catalog = rebuild_catalog(card.catalog)
        store = LmdbStore(load_settings().online_store)
        scorer = Scorer(artefact, catalog, store, self.model.info.labels["model_version"])
        scorer.warm_up()
        _service.decoder = TransactionDecoder(card.catalog.attributes)
        _service.scorer = scorer
        # Without it the collector stops every request for 0.1 s about once in 4,000 of them.
        gc.collect()
        gc.freeze()

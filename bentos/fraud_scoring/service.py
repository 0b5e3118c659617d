"""The BentoML service: loads the model and the store in each worker, and mounts the routes.

`bentoml serve` first checks in the parent process that everything fits together: the packaged
model is whole, this code computes its catalog, and the online store was built for that catalog. If
not, it ends with exit code 1 and a sentence that says what is wrong and what to do, before it
listens: an orchestrator then keeps the version that runs. Afterwards `/health` answers 503, with
the reason, for as long as the store cannot be used.

The store is found through FRAUD_ONLINE_STORE_URL, or FRAUD_WAREHOUSE and FRAUD_SOURCE; relative paths
start at the directory that `bentoml serve` is started from. The number of workers (default 1) is set by
BENTOML_CONFIG_OPTIONS="services.fraud_scoring.workers=2".
"""

import gc
import logging
import os
from pathlib import Path

import bentoml

import fraud_platform
from bentos.fraud_scoring.api import Front, Service, build_app
from fraud_platform.decisions.scorer import Scorer
from fraud_platform.errors import FraudPlatformError, ServiceError
from fraud_platform.features.selection import rebuild_catalog
from fraud_platform.features.stores import Store
from fraud_platform.features.stores.opening import open_built_store
from fraud_platform.models.artefact import Artefact
from fraud_platform.settings import Settings, load_settings
from fraud_platform.transactions.request import TransactionDecoder

log = logging.getLogger("bentoml.fraud_scoring")

REQUEST_SECONDS = 120
"""Past this BentoML answers for us, in its own shape; our own limits come long before."""

_service = Service()
_app = build_app(_service)


@bentoml.asgi_app(_app, path="/")
@bentoml.service(
    name="fraud_scoring",
    workers=1,
    traffic={"timeout": REQUEST_SECONDS},
    tracing={"excluded_urls": ".*"},
    logging={"access": {"enabled": False}},
    metrics={"enabled": False},
)
class FraudScoring:
    """Scores payments as they happen."""

    @bentoml.on_deployment
    @staticmethod
    def check() -> None:
        """Runs once, in the parent, before any worker: refuses to start, or compiles and hands the paths on.

        The workers' own working directory is the Bento, so that a relative path or an .env file of
        the operator's means nothing to them.
        """
        try:
            settings = load_settings()
            os.environ["FRAUD_WAREHOUSE"] = str(settings.warehouse.resolve())
            os.environ["FRAUD_SOURCE"] = str(settings.source)
            scorer, _, store = load(settings)
            scorer.warm_up()
            store.close()
        except FraudPlatformError as error:
            raise SystemExit(f"The fraud scoring service does not start: {error}") from error

    def __init__(self) -> None:
        settings = load_settings()
        scorer, decoder, _ = load(settings)
        scorer.warm_up()
        _service.scorer, _service.decoder = scorer, decoder
        log.info(
            "Model version %s, catalog %s, store %s, code %s",
            scorer.model_version,
            scorer.catalog_fingerprint,
            settings.online_store_address,
            Path(fraud_platform.__file__).parent,
        )
        # Without it the collector stops every request for 0.1 s about once in 4,000 of them.
        gc.collect()
        gc.freeze()


FraudScoring.add_asgi_middleware(Front, ours=_app)  # pyright: ignore[reportArgumentType] - the type asks for a factory


def load(settings: Settings) -> tuple[Scorer, TransactionDecoder, Store]:
    """What the Bento that this process serves decides with.

    Raises:
        ServiceError: if this is not a Bento.
        ArtefactError, CatalogError, StoreError: if what is packaged, this code and the store do not fit together.
    """
    bento = FraudScoring.bento
    if bento is None:
        raise ServiceError("The service runs from a Bento only. Materialize `fraud_scoring_bento` and serve that.")
    # Not "fraud_model:latest": that is the newest model in the store, whatever this Bento was built with.
    model = bentoml.models.get(bento.info.all_models[0].tag)
    artefact = Artefact.load(Path(model.path))
    catalog = rebuild_catalog(artefact.card.catalog)
    store = open_built_store(settings, catalog.look_back_us)
    scorer = Scorer(artefact, catalog, store, bento.info.labels["model_version"])
    decoder = TransactionDecoder(catalog.attributes, ahead_us=settings.max_minutes_ahead * 60_000_000)
    return scorer, decoder, store

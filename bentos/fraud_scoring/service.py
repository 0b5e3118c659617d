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
import sys
from pathlib import Path

import bentoml

import fraud_platform
from bentos.fraud_scoring import logs, metrics
from bentos.fraud_scoring.api import Front, Stage, build_app
from bentos.fraud_scoring.binding import refuse_open_binding
from bentos.fraud_scoring.edge import Edge
from bentos.fraud_scoring.guard import Guard
from bentos.fraud_scoring.loading import Models, Packaged
from bentos.fraud_scoring.rules_kept import rules_at_start
from bentos.fraud_scoring.timers import leave_out_timers
from bentos.fraud_scoring.worker import Worker
from fraud_platform.audit import Audit
from fraud_platform.decisions.deployment import read_deployment
from fraud_platform.decisions.scorer import Scorer
from fraud_platform.errors import FraudPlatformError, ServiceError
from fraud_platform.features.selection import rebuild_catalog
from fraud_platform.features.stores.opening import open_built_store
from fraud_platform.models.artefact import read_card
from fraud_platform.pseudonyms import Pseudonyms
from fraud_platform.settings import Settings, load_settings
from fraud_platform.transactions.request import TransactionDecoder

log = logging.getLogger("bentoml.fraud_scoring")

SWITCH_SECONDS = 0.0002

leave_out_timers()
_stage = Stage()
_app = build_app(_stage)


@bentoml.asgi_app(_app, path="/")
@bentoml.service(
    name="fraud_scoring",
    workers=1,
    http={"host": "127.0.0.1"},  # pyright: ignore[reportArgumentType] - a string is what it takes
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
            logs.configure_logs(Pseudonyms(settings.pseudonym_key))
            refuse_open_binding(settings)
            os.environ["FRAUD_WAREHOUSE"] = str(settings.warehouse.resolve())
            if settings.rules.exists():
                os.environ["FRAUD_RULES"] = str(settings.rules.resolve())
            os.environ["FRAUD_SOURCE"] = str(settings.source)
            worker = load(settings)
            worker.scorer.warm_up()
            worker.store.close()
        except FraudPlatformError as error:
            raise SystemExit(f"The fraud scoring service does not start: {error}") from error

    def __init__(self) -> None:
        settings = load_settings()
        logs.configure_logs(Pseudonyms(settings.pseudonym_key))
        refuse_open_binding(settings)
        worker = load(settings)
        worker.scorer.warm_up()
        metrics.show_models(worker.models)
        _stage.enter(worker)
        champion = worker.models.champion
        log.info(
            "Model version %s, catalog %s, store %s, code %s",
            champion and champion.version,
            worker.catalog.fingerprint,
            settings.online_store_address,
            Path(fraud_platform.__file__).parent,
        )
        # By default a thread that computes keeps another waiting for 5 ms: the loop and the lane wait for each other.
        sys.setswitchinterval(SWITCH_SECONDS)
        # Without it the collector stops every request for 0.1 s about once in 4,000 of them.
        gc.collect()
        gc.freeze()


FraudScoring.add_asgi_middleware(Edge)  # pyright: ignore[reportArgumentType] - the type asks for a factory
FraudScoring.add_asgi_middleware(Front, ours=_app)  # pyright: ignore[reportArgumentType]


def load(settings: Settings) -> Worker:
    """What this process serves: the Bento's model, or what the deployment says.

    Raises:
        ServiceError: if this is not a Bento.
        FraudPlatformError: if what is packaged, this code, the store, the rules and the keys do not fit together.
    """
    packaged = packaged_model()
    catalog = rebuild_catalog(read_card(packaged.folder).catalog)
    models = Models(settings, catalog, packaged)
    models.load(packaged.model_version, packaged.folder)
    router, problems = models.router(read_deployment(settings.deployment))
    pseudonyms = Pseudonyms(settings.pseudonym_key)
    rules, rules_problem = rules_at_start(settings, catalog)
    guard = Guard(settings)
    store = open_built_store(settings, catalog.look_back_us)
    scorer = Scorer(router, catalog, store, rules, metrics.observe_stage)
    decoder = TransactionDecoder(catalog.attributes, ahead_us=settings.max_minutes_ahead * 60_000_000)
    threaded = settings.online_store_url is not None or settings.online_store_durable
    audit = Audit(settings.audit_log, pseudonyms)
    worker = Worker(settings, scorer, decoder, models, guard, audit, threaded)
    for watched, problem in zip(worker.watched, ("; ".join(problems) or None, rules_problem), strict=False):
        if problem:
            watched.note(problem)
    return worker


def packaged_model() -> Packaged:
    """The model of the Bento that this process serves.

    Raises:
        ServiceError: if this is not a Bento.
    """
    bento = FraudScoring.bento
    if bento is None:
        raise ServiceError("The service runs from a Bento only. Materialize `fraud_scoring_bento` and serve that.")
    # Not "fraud_model:latest": that is the newest model in the store, whatever this Bento was built with.
    model = bentoml.models.get(bento.info.all_models[0].tag)
    return Packaged(bento.info.labels["model_version"], Path(model.path))

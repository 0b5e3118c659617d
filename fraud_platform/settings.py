"""Settings: one frozen object, and the only reader of the environment.

Each field is set by `FRAUD_<FIELD>` in the environment or in `.env`. Relative paths start at the
working directory.
"""

from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveInt, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from fraud_platform.errors import SettingsError


class Settings(BaseSettings):
    """Everything that differs between one installation and another."""

    model_config = SettingsConfigDict(env_prefix="FRAUD_", env_file=".env", extra="ignore", frozen=True)

    source: Path = Field(Path("sources/simulator.yaml"), description="the source's YAML file")
    data: str | None = Field(
        None, description="file, folder, glob or s3:// address; in place of the source's own `path`"
    )
    warehouse: Path = Field(Path("warehouse"), description="everything that the platform writes goes below this folder")
    seed: int = Field(20180401, description="the seed of every random choice outside the simulator")

    test_days: PositiveInt = Field(7, description="days of the test period")
    validation_days: PositiveInt = Field(
        7, description="days that choose rounds, calibration, thresholds and candidate"
    )
    reviews_per_day: PositiveInt = Field(
        100, description="payments that the team can review a day; also k of card precision@k"
    )
    missed_fraud_fee_cents: int = Field(
        1500, ge=0, description="what a missed fraud costs on top of its amount, minor units"
    )
    review_cost_cents: int = Field(300, ge=0, description="what one review costs, minor units")
    blocked_good_cents: int = Field(3000, ge=0, description="what blocking a legitimate payment costs, minor units")

    algorithms: tuple[str, ...] = Field(
        ("logistic_regression", "random_forest", "xgboost", "lightgbm", "isolation_forest", "soft_voting"),
        description="candidates, as a JSON list; soft_voting averages the best of the others",
    )
    imbalance: Literal["none", "class_weight", "undersample", "smote"] = Field(
        "none", description="what is done about fraud being rare before a model is fitted"
    )
    calibration: Literal["sigmoid", "isotonic", "none"] = Field(
        "sigmoid", description="how scores become probabilities"
    )
    tuned_algorithms: tuple[str, ...] = Field(
        ("xgboost", "lightgbm"), description="candidates whose parameters are searched, as a JSON list"
    )
    tuning_trials: NonNegativeInt = Field(3, description="parameter sets tried for each; 0: the measured defaults")
    tuning_folds: PositiveInt = Field(2, description="moments in the past that each parameter set is judged at")
    tuning_fold_days: PositiveInt = Field(7, description="days after such a moment that it is judged on")
    tuning_rows: PositiveInt = Field(30_000, description="the most rows that a fold is fitted on, the latest of them")

    bootstrap_resamples: PositiveInt = Field(500, description="resamples behind each interval and paired test")
    gate_min_roc_auc: float = Field(0.75, ge=0, le=1, description="ROC AUC that a first model must reach")
    gate_significance: float = Field(
        0.05, gt=0, lt=0.5, description="share of resamples in which a better challenger may look worse"
    )
    gate_max_calibration_error: float = Field(
        0.5, gt=0, description="calibration error beyond noise, as a share of the fraud rate"
    )
    gate_max_single_row_us: float = Field(1000.0, gt=0, description="99th percentile of scoring one row, microseconds")
    gate_alert_budget_tolerance: float = Field(
        0.25, ge=0, description="how far reviews a day may lie above the budget, as a share of it"
    )

    mlflow_tracking_uri: str | None = Field(None, description="default: a SQLite file in the warehouse")
    model_name: str = Field("fraud_model", description="the registered model's name in MLflow")

    quarantine_share_limit: float = Field(
        0.05, gt=0, le=1, description="share of bad rows above which validation blocks"
    )
    drift_share_warning: float = Field(0.15, gt=0, le=1, description="share of drifted features that warns")
    drift_share_critical: float = Field(
        0.20, gt=0, le=1, description="share of drifted features that asks for retraining"
    )
    drift_days: PositiveInt = Field(7, description="days that the drift report compares with the training period")
    drift_sample_rows: PositiveInt = Field(50_000, description="rows sampled from each side of the drift report")

    feature_engine: Literal["local", "spark"] = Field(
        "local", description="what computes the feature table: this process, or Spark for those who outgrow it"
    )
    spark_master: str = Field("local[*]", description="Spark's master: local[*], spark://host:7077, yarn, k8s://…")
    spark_exchange: str | None = Field(
        None, description="folder or s3a:// address that Spark's executors share with us; default: in the warehouse"
    )

    online_store_url: str | None = Field(
        None, description="redis://… or rediss://… of the online store; default: an LMDB folder in the warehouse"
    )
    online_store_durable: bool = Field(
        False, description="whether an answer waits for the disk (LMDB); default: for the operating system"
    )
    max_minutes_ahead: PositiveInt = Field(
        60, description="how far ahead of the service's clock the time of a transaction may be"
    )
    parity_days: PositiveInt = Field(1, description="days that the parity report replays")

    rules: Path = Field(Path("rules/rules.yaml"), description="the rules that decide beside the model, a YAML file")
    model_guard_ms: float = Field(
        50.0, gt=0, description="how long a model may take for a transaction before the fallback takes its place"
    )
    model_rest_seconds: float = Field(
        30.0, gt=0, description="how long a model that failed or was too slow is left alone before it is tried again"
    )
    reload_seconds: float = Field(
        1.0, gt=0, description="how often a worker looks for changed models, rules, lists and keys"
    )
    requests_per_second: PositiveInt = Field(2000, description="requests a second that one API key may make")
    batch_transactions: PositiveInt = Field(10_000, description="transactions that a batch may have")
    pseudonym_key: SecretStr | None = Field(
        None, description="with it, ids of customers, cards and devices and IP addresses are pseudonyms in the logs"
    )
    outbox_keep: NonNegativeInt = Field(
        100_000, description="entries of the outbox that stay for the console once the warehouse has them"
    )

    s3_endpoint_url: str | None = Field(None, description="an S3-compatible server; default: AWS")

    @property
    def home(self) -> Path:
        """Everything written about one source: `<warehouse>/<stem of the source file>`."""
        return self.warehouse / self.source.stem

    @property
    def database(self) -> Path:
        """The DuckDB file of the validated, scored and monitored tables."""
        return self.home / "fraud.duckdb"

    @property
    def raw_transactions(self) -> Path:
        """Raw transactions as read, one Parquet file a day."""
        return self.home / "raw" / "transactions"

    @property
    def raw_labels(self) -> Path:
        """Raw labels as read, one Parquet file a day."""
        return self.home / "raw" / "labels"

    @property
    def features(self) -> Path:
        """Feature tables, one Parquet file a day."""
        return self.home / "features"

    @property
    def training_sets(self) -> Path:
        """Immutable training sets, named by their content."""
        return self.home / "training_sets"

    @property
    def models(self) -> Path:
        """Model artefacts, named by their content."""
        return self.home / "models"

    @property
    def tuning(self) -> Path:
        """Searches for parameters, a file each: one that was stopped goes on."""
        return self.home / "tuning"

    @property
    def scores(self) -> Path:
        """Batch scores, one Parquet file a day."""
        return self.home / "scores"

    @property
    def reports(self) -> Path:
        """HTML reports: Data Docs and drift."""
        return self.home / "reports"

    @property
    def online_store(self) -> Path:
        """The embedded online store's folder."""
        return self.home / "online_store"

    @property
    def online_store_address(self) -> str:
        """Where the online store is, without a password."""
        if self.online_store_url is None:
            return str(self.online_store)
        scheme, _, rest = self.online_store_url.partition("://")
        return f"{scheme}://{rest.rpartition('@')[2]}"

    @property
    def lists(self) -> Path:
        """Block, allow and watch lists, a YAML file."""
        return self.home / "lists.yaml"

    @property
    def rules_in_force(self) -> Path:
        """Copies of the rules and lists that were taken up last, for a worker that starts while they are broken."""
        return self.home / "rules_in_force"

    @property
    def deployment(self) -> Path:
        """Which models the service's workers load, and what for."""
        return self.home / "deployment.json"

    @property
    def api_keys(self) -> Path:
        """Who may use the service: names, roles and hashes of keys."""
        return self.home / "api_keys.json"

    @property
    def audit_log(self) -> Path:
        """One JSON line for each change of rules, lists, models, keys and labels."""
        return self.home / "audit.jsonl"

    @property
    def bentoml_home(self) -> Path:
        """BentoML's own folder: Bentos and models."""
        return self.home / "bentoml"

    @property
    def scratch(self) -> Path:
        """Temporary files of a run; may be deleted when none runs."""
        return self.home / "scratch"

    @property
    def spark_exchange_address(self) -> str:
        """Where events go to Spark and features come back: what is set, or a folder below `scratch`."""
        return self.spark_exchange or str(self.scratch / "spark")

    @property
    def tracking_uri(self) -> str:
        """MLflow's backend: what is set, or a SQLite file in the warehouse."""
        return self.mlflow_tracking_uri or f"sqlite:///{(self.home / 'mlflow.db').resolve()}"


@cache
def load_settings() -> Settings:
    """Read the environment once.

    Raises:
        SettingsError: naming each variable that cannot be used.
    """
    try:
        return Settings()  # type: ignore[call-arg]
    except ValidationError as error:
        wrong = "; ".join(
            f"FRAUD_{'_'.join(map(str, e['loc'])).upper()}: {e['msg']} (got {e['input']!r})" for e in error.errors()
        )
        raise SettingsError(f"Settings cannot be used: {wrong}. Correct the environment or .env.") from error

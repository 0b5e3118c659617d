"""Settings: one frozen object, and the only reader of the environment.

Each field is set by `FRAUD_<FIELD>` in the environment or in `.env`. Relative paths start at the
working directory.
"""

from functools import cache
from pathlib import Path

from pydantic import Field, PositiveInt, ValidationError
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
    validation_days: PositiveInt = Field(7, description="days that choose rounds and threshold")
    cards_reviewed_per_day: PositiveInt = Field(100, description="k of card precision@k")

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
    def scores(self) -> Path:
        """Batch scores, one Parquet file a day."""
        return self.home / "scores"

    @property
    def reports(self) -> Path:
        """HTML reports: Data Docs and drift."""
        return self.home / "reports"

    @property
    def online_store(self) -> Path:
        """The embedded online store."""
        return self.home / "online_store"

    @property
    def bentoml_home(self) -> Path:
        """BentoML's own folder: Bentos and models."""
        return self.home / "bentoml"

    @property
    def scratch(self) -> Path:
        """Temporary files of a run; may be deleted when none runs."""
        return self.home / "scratch"

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

"""The one error tree. Each message says what is wrong, where, and what to do.

FraudPlatformError
├── SettingsError        an environment variable or .env entry cannot be used
├── SourceError          a source's YAML file is wrong, or does not fit the data it describes
│   └── UnreadableData   a file of the source is missing, empty or cannot be parsed at all
├── WarehouseError       the DuckDB file, a partition or the audit log cannot be read or written
├── CatalogError         a feature cannot be computed, or a fingerprint is not the catalog's
├── StoreError           the online store cannot be read, or holds another catalog's state
├── TrainingError        the training data cannot give a model (no frauds, too few days …)
├── ArtefactError        a model directory is incomplete, corrupt, or unfit to serve
├── RegistryError        MLflow does not answer, or lacks the model that was asked for
├── RulesError          the rules or lists cannot be used, or a change of them is refused
├── AccessError          the file of API keys cannot be used, or a change of it is refused
├── ConflictingTransaction  a transaction_id was decided before with other content
├── InvalidTransaction   one transaction breaks the contract: `field` says where, `fix` how to mend it
└── ServiceError         a Bento cannot be built, or the scoring service does not answer
"""


class FraudPlatformError(Exception):
    """Base of every error that the platform raises on purpose."""


class SettingsError(FraudPlatformError):
    """An environment variable or .env entry cannot be used."""


class SourceError(FraudPlatformError):
    """A source's YAML file is wrong, or does not fit the data that it describes."""


class UnreadableData(SourceError):
    """A file of the source is missing, empty or cannot be parsed at all."""


class WarehouseError(FraudPlatformError):
    """The DuckDB file, a partition or the audit log cannot be read or written."""


class CatalogError(FraudPlatformError):
    """A feature cannot be computed, or a fingerprint is not the catalog's."""


class StoreError(FraudPlatformError):
    """The online store cannot be read, or holds the state of another catalog."""


class TrainingError(FraudPlatformError):
    """The training data cannot give a model."""


class ArtefactError(FraudPlatformError):
    """A model directory is incomplete, corrupt, or unfit to serve."""


class RegistryError(FraudPlatformError):
    """MLflow does not answer, or lacks the model that was asked for."""


class RulesError(FraudPlatformError):
    """The rules or lists cannot be used, or a change of them is refused."""


class AccessError(FraudPlatformError):
    """The file of API keys cannot be used, or a change of it is refused."""


class ConflictingTransaction(FraudPlatformError):
    """A transaction_id was decided before with other content."""


class InvalidTransaction(FraudPlatformError):
    """One transaction breaks the contract."""

    def __init__(self, message: str, field: str | None = None, fix: str | None = None) -> None:
        super().__init__(message)
        self.field = field
        self.fix = fix


class ServiceError(FraudPlatformError):
    """A Bento cannot be built, or the scoring service does not answer."""

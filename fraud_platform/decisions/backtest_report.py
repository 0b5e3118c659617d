"""What a backtest of the rules found, as a file that the service's console reads without opening the warehouse."""

from datetime import date, datetime
from pathlib import Path

import msgspec

from fraud_platform.decisions.policy import Action
from fraud_platform.decisions.rules import Mode
from fraud_platform.errors import WarehouseError
from fraud_platform.settings import Settings


class RuleResult(msgspec.Struct, frozen=True, kw_only=True):
    """One rule on history, as if it were live and alone. Money is in minor units.

    Attributes:
        rows: payments judged that were made while the rule was in force; so are `days` and `frauds`.
        alerts: payments that it matched, whatever its action asks for.
        found: frauds among them.
        precision: share of its alerts that were fraud; of a rule that approves, the fewer the better. None
            without an alert.
        recall: share of the frauds that it found. None without a fraud.
        saved: what its reviews or blocks save against approving everything; 0 for a rule that approves.
        added: what it saves on top of the model, if the two decide together; negative where it costs.
        model_alerts_too: share of its alerts that the model does not approve either. None without an alert.
        frauds_only_here: frauds that it found and the model approved.
    """

    name: str
    mode: Mode
    action: Action
    weight: int
    rows: int
    days: int
    frauds: int
    alerts: int
    alerts_per_day: float
    found: int
    precision: float | None
    recall: float | None
    saved: int
    added: int
    model_alerts_too: float | None
    frauds_only_here: int


class Together(msgspec.Struct, frozen=True, kw_only=True):
    """What one way to decide did on all payments judged: alerts are what is reviewed or blocked."""

    name: str
    reviews_per_day: float
    blocks_per_day: float
    found: int
    precision: float | None
    recall: float | None
    saved: int


class BacktestReport(msgspec.Struct, frozen=True, kw_only=True):
    """The rules on the last payments whose label delay has passed.

    Attributes:
        rules_digest: of the rules alone; lists are not backtested.
        first, last: the days judged, both inclusive; `days` of them have payments.
        as_of: labels reported from this day on were not known yet.
        rows_without_score: payments left out because no model has scored them.
        model_versions: that scored the payments. A version that learnt from them looks better than it is.
        inactive: rules that the source cannot have, with the reason.
    """

    made_at: datetime
    rules_digest: str
    first: date
    last: date
    days: int
    as_of: date
    label_delay_days: int
    rows: int
    frauds: int
    rows_without_score: int
    model_versions: tuple[str, ...]
    rules: tuple[RuleResult, ...]
    inactive: tuple[tuple[str, str], ...]
    model: Together
    with_rules: Together


def report_file(settings: Settings) -> Path:
    """Where the report of an installation is."""
    return settings.reports / "rule_backtest.json"


def read_report(path: Path) -> BacktestReport | None:
    """The latest report, None where there is none yet.

    Raises:
        WarehouseError: if the file is none of ours.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=BacktestReport)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise WarehouseError(
            f"{path} cannot be read: {error}. Materialize `rule_backtest` to write it again."
        ) from error

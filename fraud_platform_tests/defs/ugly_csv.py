"""A CSV file as a bank's old system exports it, with what is wrong with it known row by row."""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl

from fraud_platform.transactions.simulator import SimulatorConfig, simulate_day

FIRST, DAYS = date(2026, 2, 1), 60  # the clock is put forward on 29 March
LAST = FIRST + timedelta(days=DAYS - 1)
BERLIN = ZoneInfo("Europe/Berlin")
CHANNELS = {"in_person": "Kasse", "online": "Netz", "atm": "Automat", "transfer": "Überweisung", "phone": "Telefon"}
HEADER = "Buchungsnr;Zeitpunkt;Kunde;Händler;Land;Heimat;Weg;Betrag;Betrug;Art"

MAPPING = f"""
description: "Export: Zahlungen der Filiale Nord"
format: csv
path: {{path}}
csv: {{{{delimiter: ";", quote: '"', encoding: utf-8}}}}
first_day: {FIRST}
last_day: {LAST}
event_time: {{{{column: Zeitpunkt, format: "%d.%m.%Y %H:%M:%S", zone: Europe/Berlin}}}}
amount: {{{{column: Betrag, unit: major, decimals: 2, decimal_mark: ","}}}}
columns:
  transaction_id: Buchungsnr
  customer_id: Kunde
  merchant_id: Händler
  merchant_country: Land
  home_country: Heimat
  channel: Weg
values:
  channel: {{{{Kasse: in_person, Netz: online, Automat: atm, Überweisung: transfer, Telefon: phone}}}}
labels:
  is_fraud: {{{{column: Betrug, fraud_values: ["ja"]}}}}
  fraud_type: {{{{column: Art}}}}
  delay_days: 7
  source: chargeback
"""


@dataclass
class UglyCsv:
    """The file, what each bad row is bad for (by row number), and the good payments as the simulator made them."""

    path: Path
    good: pl.DataFrame
    reasons: dict[int, list[str]] = field(default_factory=dict)


def _local(moment: datetime) -> str:
    return moment.replace(tzinfo=UTC).astimezone(BERLIN).strftime("%d.%m.%Y %H:%M:%S")


def _german(cents: int) -> str:
    """123456 as 1.234,56."""
    return f"{cents / 100:,.2f}".translate(str.maketrans(",.", ".,"))


def _line(row: dict[str, object]) -> list[str]:
    moment, cents = row["event_time"], row["amount_cents"]
    assert isinstance(moment, datetime) and isinstance(cents, int)
    return [
        str(row["transaction_id"]),
        _local(moment),
        str(row["customer_id"]),
        str(row["merchant_id"]),
        str(row["merchant_country"] or ""),
        str(row["home_country"]),
        CHANNELS[str(row["channel"])],
        _german(cents),
        "ja" if row["is_fraud"] else "nein",
        str(row["fraud_type"] or ""),
    ]


def _bad_lines(sample: list[str], repeated: list[str], repeated_at: datetime) -> list[tuple[str, list[str]]]:
    """Lines that must be quarantined, each with its reasons."""

    def changed(**fields: str) -> str:
        names = HEADER.split(";")
        row = [fields.get(name, value) for name, value in zip(names, sample, strict=True)]
        return ";".join(["falsch-" + fields.get("Nr", "1") if "Buchungsnr" not in fields else row[0], *row[1:]])

    first = repeated_at.strftime("%Y-%m-%d %H:%M:%S")
    twice = [f"transaction_id: {repeated[0]} is a duplicate; the first is of {first}"]
    channels = "in_person, online, atm, phone, transfer"
    time_format = "a time in format %d.%m.%Y %H:%M:%S"
    return [
        (";".join(repeated), twice),
        (";".join(repeated), twice),
        (changed(Buchungsnr=""), ["transaction_id: missing"]),
        (changed(Nr="2", Kunde=""), ["customer_id: missing"]),
        (changed(Nr="3", Betrag=""), ["amount_cents: missing"]),
        (changed(Nr="4", Betrag="0,00"), ["amount_cents: 0 is below 1"]),
        (changed(Nr="5", Betrag="-5,00"), ["amount_cents: -500 is below 1"]),
        (changed(Nr="6", Betrag="zwölf"), ["amount_cents: 'zwölf' is not a number with decimal mark ','"]),
        (changed(Nr="7", Betrag="1,234"), ["amount_cents: 1,234 has more than 2 decimals"]),
        (changed(Nr="8", Weg="Fax"), [f"channel: 'Fax' is not one of {channels}"]),
        (changed(Nr="9", Land="Deutschland"), ["merchant_country: 'Deutschland' does not match ^[A-Z]{2}$"]),
        (changed(Nr="10", Kunde="", Betrag="0,00"), ["customer_id: missing", "amount_cents: 0 is below 1"]),
        (changed(Nr="11", Zeitpunkt=""), ["event_time: missing"]),
        (
            changed(Nr="12", Zeitpunkt="31.02.2026 10:00:00"),
            [f"event_time: '31.02.2026 10:00:00' is not {time_format}"],
        ),
        (
            changed(Nr="13", Zeitpunkt="29.03.2026 02:30:00"),
            ["event_time: '29.03.2026 02:30:00' does not exist in Europe/Berlin: the clock was put forward over it"],
        ),
        (
            changed(Nr="14", Zeitpunkt="31.01.2026 12:00:00"),
            [f"event_time: 2026-01-31 11:00:00 UTC is before first_day {FIRST}"],
        ),
        ("falsch-15;01.03.2026 10:", ["line: too few fields (the header has 10)"]),
    ]


def write_ugly_csv(path: Path) -> UglyCsv:
    """About 18,000 simulated payments of 60 days, and the bad lines strewn among them; the same at each call."""
    config = SimulatorConfig(
        first_day=FIRST, customers=200, merchants=100, transactions_per_day=300, fraud_rate=0.03, seed=7
    )
    days = [simulate_day(config, FIRST + timedelta(days=number)) for number in range(DAYS)]
    good = pl.concat(days).with_columns(pl.col("event_time").dt.truncate("1s"))
    lines = [";".join(_line(row)) for row in good.iter_rows(named=True)]
    legitimate = good.filter(~pl.col("is_fraud"))
    repeated = legitimate.row(50, named=True)
    bad = _bad_lines(_line(legitimate.row(100, named=True)), _line(repeated), repeated["event_time"])
    places = [1_000 * (number + 1) for number in range(len(bad))]
    for place, (line, _) in zip(places, bad, strict=True):
        lines.insert(place, line)
    path.write_bytes("\r\n".join([HEADER, *lines, ""]).encode("utf-8"))
    return UglyCsv(path, good, {place + 1: reasons for place, (_, reasons) in zip(places, bad, strict=True)})

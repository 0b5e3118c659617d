"""Drafts: a valid source from nothing but a sample, for the files that people bring."""

import gzip
from datetime import date
from pathlib import Path

import pytest

from fraud_platform.errors import SourceError, UnreadableData
from fraud_platform.transactions.check import check_source
from fraud_platform.transactions.draft import draft_source
from fraud_platform.transactions.source_schema import Source
from fraud_platform.transactions.sources import load_source
from fraud_platform_tests.transactions.conftest import Workshop

HANDBOOK = Path(__file__).parents[2] / "../shared/data/handbook/transactions.parquet"


def drafted(folder: Path, file: Path) -> Source:
    """The source of a draft; the draft must also pass the check of all its rows."""
    path = folder / "drafted.yaml"
    path.write_text(draft_source(file), encoding="utf-8")
    report = check_source(path)
    assert report.problems == ()
    assert report.rejected == 0
    return load_source(path)


def test_paysim_like_file(workshop: Workshop) -> None:
    header = (
        "step,type,amount,nameOrig,oldbalanceOrg,newbalanceOrig,nameDest,oldbalanceDest,newbalanceDest,"
        "isFraud,isFlaggedFraud"
    )
    rows = [f"{i},TRANSFER,{i}.5,C{i % 3},0.0,1.5,M{i % 2},0.0,0.0,{int(i == 5)},0" for i in range(1, 30)]
    source = drafted(workshop.folder, workshop.csv(*rows, header=header))
    assert source.columns == {"transaction_id": "_row", "customer_id": "nameOrig", "merchant_id": "nameDest"}
    assert (source.event_time.column, source.event_time.format) == ("step", "epoch_h")
    assert source.labels is not None
    assert source.labels.is_fraud.column == "isFraud"


def test_ieee_cis_like_file(workshop: Workshop) -> None:
    header = (
        "TransactionID,isFraud,TransactionDT,TransactionAmt,ProductCD,card1,card2,card4,addr1,dist1,"
        "P_emaildomain,C1,D1,M1,V1"
    )
    rows = [f"{i},{int(i == 2)},{86400 + i},{i}.125,W,{i % 4},,visa,,,gmail.com,1.0,14.0,T,1.0" for i in range(1, 30)]
    source = drafted(workshop.folder, workshop.csv(*rows, header=header))
    assert source.columns == {
        "transaction_id": "TransactionID",
        "customer_id": "card1",
        "merchant_category": "ProductCD",
    }
    assert (source.event_time.column, source.event_time.format, source.amount.decimals) == (
        "TransactionDT",
        "epoch_s",
        3,
    )


def test_sparkov_like_file(workshop: Workshop) -> None:
    header = (
        ",trans_date_trans_time,cc_num,merchant,category,amt,first,last,gender,city,state,zip,lat,long,"
        "city_pop,job,dob,trans_num,unix_time,merch_lat,merch_long,is_fraud"
    )
    rows = [
        f'{i},2019-01-01 00:00:{i:02},2703186189652095,"fraud_Rippin, '
        f'Kub",misc_net,{i}.97,Ann,Lee,F,Moravian,NC,28654,36.0788,-81.1781,3495,'
        f'"Psychologist, x",1988-03-09,0b242abb{i:02},1325376018,36.011293,-82.048315,{int(i == 3)}'
        for i in range(1, 30)
    ]
    source = drafted(workshop.folder, workshop.csv(*rows, header=header))
    assert source.columns == {
        "transaction_id": "trans_num",
        "customer_id": "cc_num",
        "merchant_id": "merchant",
        "merchant_category": "category",
        "latitude": "merch_lat",
        "longitude": "merch_long",
        "home_latitude": "lat",
        "home_longitude": "long",
    }
    assert (source.event_time.column, source.amount.column) == ("trans_date_trans_time", "amt")
    assert (source.first_day, source.last_day) == (date(2019, 1, 1), date(2019, 1, 1))


def test_german_export(workshop: Workshop) -> None:
    rows = [f'B{i};31.12.2025 10:{i:02};K1;"1.23{i % 10},50";POS;DE;{"ja" if i == 1 else "nein"}' for i in range(1, 30)]
    path = workshop.csv(*rows, header="transaction_id;zeitpunkt;kunde;betrag;channel;land;bemerkung")
    (workshop.folder / "data.csv.gz").write_bytes(gzip.compress(path.read_bytes()))
    source = drafted(workshop.folder, workshop.folder / "data.csv.gz")
    assert (source.csv.delimiter, source.amount.decimal_mark, source.event_time.format) == (";", ",", "%d.%m.%Y %H:%M")
    assert source.values == {"channel": {"POS": "in_person"}}
    assert source.labels is None


@pytest.mark.handbook
@pytest.mark.slow
def test_handbook(tmp_path: Path) -> None:
    path = tmp_path / "drafted.yaml"
    path.write_text(draft_source(HANDBOOK), encoding="utf-8")
    shipped, source = load_source(Path(__file__).parents[2] / "sources/handbook.yaml"), load_source(path)
    for part in ("format", "first_day", "last_day", "event_time", "amount", "columns", "labels"):
        assert getattr(source, part) == getattr(shipped, part)


def test_unmapped_columns_are_attributes_in_comments(workshop: Workshop) -> None:
    path = workshop.csv("1,2026-03-01 10:00:00,a,1.00,4,blue", header="id,time,customer,amount,Basket Size,day")
    text = draft_source(path)
    assert '#   basket_size: {column: "Basket Size", type: number}' in text
    assert "#   day_1: {column: day, type: text}" in text


def test_latin_1_is_noticed(workshop: Workshop) -> None:
    workshop.data.write_bytes("id,time,customer,amount\n1,2026-03-01 10:00:00,Jürgen,1.00\n".encode("latin-1"))
    assert "encoding: latin-1" in draft_source(workshop.data)


def test_what_cannot_be_guessed_is_to_be_filled_in(workshop: Workshop) -> None:
    path = workshop.csv("1,blue", header="id,colour")
    text = draft_source(path)
    assert text.count("FILL IN") == 5
    (workshop.folder / "drafted.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(SourceError, match=r"columns\.customer_id: missing"):
        load_source(workshop.folder / "drafted.yaml")


@pytest.mark.parametrize("content", [b"", b"id,when\n", b"i\0d\0"])
def test_file_without_data_cannot_be_drafted(workshop: Workshop, content: bytes) -> None:
    workshop.data.write_bytes(content)
    with pytest.raises(UnreadableData, match=r"data\.csv"):
        draft_source(workshop.data)


def test_missing_file_cannot_be_drafted(tmp_path: Path) -> None:
    with pytest.raises(UnreadableData, match="there is no such file"):
        draft_source(tmp_path / "x.csv")

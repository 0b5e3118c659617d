"""CSV text: one broken line costs one line, and every line is a row or a rejected line."""

import gzip

import pytest

from fraud_platform_tests.transactions.conftest import Workshop

THREE_DAYS = ("1,2026-03-01 10:00:00,a,1.00", "2,2026-03-02 10:00:00,a,2.00", "3,2026-03-03 10:00:00,b,3.00")


def test_every_line_is_a_row_or_a_rejected_line(workshop: Workshop) -> None:
    good = [f"{i},2026-03-01 10:00:00,a,1.00" for i in range(1, 31)]
    lines = list(good)
    lines[4] = "5,2026-03-01 10:00:00"
    lines[9] = "10,2026-03-01 10:00:00,a,1.00,x,y"
    lines[14] = '15,2026-03-01 10:00:00,"a,1.00'
    lines[19] = '20,2026-03-01 10:00:00,"a"b,1.00'
    workshop.csv(*lines)
    content = workshop.data.read_bytes().replace(b"\n25,", b"\n25\xff,")
    workshop.data.write_bytes(content)
    landed = workshop.land(workshop.source())
    assert sorted(int(row[0]) for row in workshop.raw_rows("2026-03-01")) == [
        i for i in range(1, 31) if i % 5 or i == 30
    ]
    assert all(int(identifier) == row for identifier, _, row in workshop.raw_rows("2026-03-01"))
    assert [(row, reasons, raw) for _, row, reasons, raw in workshop.undated()] == [
        (5, ["line: too few fields (the header has 4)"], lines[4]),
        (10, ["line: too many fields (the header has 4)"], lines[9]),
        (15, ["line: broken quote"], lines[14]),
        (20, ["line: broken quote"], lines[19]),
        (25, ["line: not valid utf-8"], r"25\xff,2026-03-01 10:00:00,a,1.00"),
    ]
    assert landed.undated == 5


def test_broken_quote_before_quoted_fields_costs_one_line(workshop: Workshop) -> None:
    workshop.csv(
        '1,2026-03-01 10:00:00,"a,1.00', '2,2026-03-01 10:00:00,"b","1.00"', '3,2026-03-01 10:00:00,"c","1.00"'
    )
    workshop.land(workshop.source())
    assert [row[0] for row in workshop.raw_rows("2026-03-01")] == ["2", "3"]


def test_quoted_field_may_hold_delimiters_quotes_and_line_ends(workshop: Workshop) -> None:
    workshop.csv('1,2026-03-01 10:00:00,"Ann, ""the\ngreat""",1.00', "2,2026-03-01 10:00:01,b,1.00")
    workshop.land(workshop.source())
    assert workshop.rows(f"SELECT who, _row FROM read_parquet('{workshop.raw}/2026-03-01.parquet') ORDER BY _row") == [
        ('Ann, "the\ngreat"', 1),
        ("b", 2),
    ]


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("last", [True, False])
def test_line_ends_do_not_matter(workshop: Workshop, ending: str, last: bool) -> None:
    workshop.data.write_bytes((ending.join(["id,when,who,amount", *THREE_DAYS]) + ending * last).encode())
    assert workshop.land(workshop.source()).total == 3


def test_mixed_line_ends_blank_lines_and_a_byte_order_mark_do_not_matter(workshop: Workshop) -> None:
    text = "id,when,who,amount\r\n" + THREE_DAYS[0] + "\n\n" + THREE_DAYS[1] + "\r\n\r\n" + THREE_DAYS[2] + "\n"
    workshop.data.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert workshop.land(workshop.source()).total == 3


def test_latin_1_is_read_where_it_is_declared(workshop: Workshop) -> None:
    workshop.data.write_bytes("id,when,who,amount\n1,2026-03-01 10:00:00,Jürgen,1.00\n".encode("latin-1"))
    workshop.land(workshop.source(csv={"encoding": "latin-1"}))
    assert workshop.rows(f"SELECT who FROM read_parquet('{workshop.raw}/2026-03-01.parquet')") == [("Jürgen",)]


def test_gzip_is_read(workshop: Workshop) -> None:
    path = workshop.csv(*THREE_DAYS)
    (workshop.folder / "data.csv.gz").write_bytes(gzip.compress(path.read_bytes()))
    assert workshop.land(workshop.source(path="data.csv.gz")).total == 3

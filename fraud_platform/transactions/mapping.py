"""SQL expressions that turn a source's raw columns into the contract's types, exactly.

Every function takes a SQL expression and its DuckDB type and gives SQL back; nothing is read here.
Amounts never pass through floating-point arithmetic: text becomes cents digit by digit.
"""

from dataclasses import dataclass

from fraud_platform.transactions.source_schema import EPOCH_MICROSECONDS, AmountColumn, TimeColumn

INTEGERS = frozenset(
    {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT"}
)
FLOATS = frozenset({"FLOAT", "DOUBLE"})
TIMES = frozenset({"TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS", "DATE"})
ZONED_TIMES = frozenset({"TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ", "TIMESTAMP_NS WITH TIME ZONE"})


OFFSET = r"\d{1,2}:\d{2}.*(?:[Zz]|[+-]\d{2}(?::?\d{2})?)$"
"""What an ISO time looks like that carries its own offset from UTC."""

MISSING_NUMBERS = "('', 'na', 'n/a', 'nan', 'null', 'none', 'nil', '-')"


@dataclass(frozen=True)
class Problem:
    """One way in which a row can be bad.

    Attributes:
        kind: what reports count by, such as `amount_cents: below minimum`.
        condition: SQL, true where the row has the problem (null counts as false).
        message: SQL that gives the reason as text.
    """

    kind: str
    condition: str
    message: str


def quoted(name: str) -> str:
    """A column name as a SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as a SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def as_text(column: str, type_: str) -> str:
    """Text without spaces around it; empty is NULL; whole numbers without `.0`."""
    if type_ in FLOATS:
        whole = f"abs({column}) < 9007199254740992 AND {column} = trunc({column})"
        written = f"CASE WHEN {whole} THEN CAST(CAST({column} AS BIGINT) AS VARCHAR) ELSE CAST({column} AS VARCHAR) END"
        return f"CASE WHEN isnan({column}) THEN NULL ELSE {written} END"
    if type_.startswith("DECIMAL"):
        return f"regexp_replace(CAST({column} AS VARCHAR), '\\.0+$', '')"
    if type_ in INTEGERS:
        return f"CAST({column} AS VARCHAR)"
    return f"nullif(trim(CAST({column} AS VARCHAR), ' \t\u00a0'), '')"


def translated(text: str, words: dict[str, str]) -> str:
    """The contract's word for each word of the source; other words stay."""
    if not words:
        return text
    cases = " ".join(f"WHEN {literal(word)} THEN {literal(meaning)}" for word, meaning in words.items())
    return f"CASE {text} {cases} ELSE {text} END"


def as_number(column: str, type_: str, decimal_mark: str = ".") -> str:
    """A finite DOUBLE, or NULL."""
    if type_ in INTEGERS | FLOATS or type_.startswith("DECIMAL") or type_ == "BOOLEAN":
        number = f"CAST({column} AS DOUBLE)"
    else:
        text = as_text(column, type_)
        number = f"TRY_CAST({_with_point(text, decimal_mark)} AS DOUBLE)"
    return f"CASE WHEN isfinite({number}) THEN {number} END"


def number_problem(name: str, column: str, type_: str, decimal_mark: str = ".") -> Problem:
    """A value that is there but is no finite number."""
    text = as_text(column, type_)
    condition = f"lower({text}) NOT IN {MISSING_NUMBERS} AND ({as_number(column, type_, decimal_mark)}) IS NULL"
    return Problem(f"{name}: not a number", condition, f"{literal(name + ': ')} || {shown(text)} || ' is not a number'")


def shown(text: str) -> str:
    """SQL that shows a value in a message, in quotes and cut to 80 characters."""
    return f"'''' || left({text}, 80) || CASE WHEN length({text}) > 80 THEN '…' ELSE '' END || ''''"


def _with_point(text: str, decimal_mark: str) -> str:
    """Text of a number with '.' as its decimal mark and without thousands separators."""
    thousands = "," if decimal_mark == "." else "."
    bare = f"replace({text}, '{thousands}', '')"
    return bare if decimal_mark == "." else f"replace({bare}, ',', '.')"


def _nearest(number: str, places: int) -> tuple[str, str]:
    """SQL of the decimal of `places` next to a double, and whether the double is that decimal but for its rounding."""
    near = f"format('{{:.{places}f}}', {number})"
    return near, f"abs({number} - CAST({near} AS DOUBLE)) <= 1e-14 * greatest(1, abs({number}))"


def _amount_text(column: str, type_: str, places: int) -> str:
    """The amount as text. A double is the decimal of `places` that it is nearest to, where there is one."""
    if type_ == "VARCHAR":
        return as_text(column, type_)
    if type_ not in FLOATS:
        return f"CAST({column} AS VARCHAR)"
    # A FLOAT is meant as the shortest decimal that it prints as, not as the double next to it.
    number = column if type_ == "DOUBLE" else f"CAST(CAST({column} AS VARCHAR) AS DOUBLE)"
    near, is_near = _nearest(number, places)
    return (
        f"CASE WHEN isnan({number}) THEN NULL WHEN isfinite({number}) AND {is_near} THEN {near} "
        f"WHEN abs({number}) < 1e-3 THEN rtrim(format('{{:.20f}}', {number}), '0') ELSE CAST({number} AS VARCHAR) END"
    )


def _amount_parts(amount: AmountColumn, column: str, type_: str) -> tuple[str, str, str, str]:
    """SQL of the text, whether it is readable, the whole part with its sign, the fraction without trailing zeros."""
    text = _amount_text(column, type_, amount.places)
    mark = amount.decimal_mark if type_ == "VARCHAR" else "."
    thousands = "," if mark == "." else "."
    pattern = rf"[+-]?(?:(?:\d+|\d{{1,3}}(?:\{thousands}\d{{3}})+)(?:\{mark}\d*)?|\{mark}\d+)"
    readable = f"regexp_full_match({text}, {literal(pattern)})"
    plain = text
    if type_ == "VARCHAR":
        plain = _with_point(text, mark)
        # 282.40000000000003 is how a program wrote the double 282.4.
        near, is_near = _nearest(f"TRY_CAST({plain} AS DOUBLE)", amount.places)
        too_fine = f"length({plain}) >= 16 AND length(rtrim(split_part({plain}, '.', 2), '0')) > {amount.places}"
        plain = f"CASE WHEN {too_fine} AND {is_near} THEN {near} ELSE {plain} END"
    fraction = f"rtrim(split_part({plain}, '.', 2), '0')"
    return text, readable, f"split_part({plain}, '.', 1)", fraction


def amount_value(amount: AmountColumn, column: str, type_: str) -> str:
    """The amount in minor units as HUGEINT, or NULL where it is not exactly that many minor units.

    `12,5` with two decimals is 1250: the digits are put together, no arithmetic is done.
    """
    _, readable, whole, fraction = _amount_parts(amount, column, type_)
    digits = f"{whole} || rpad({fraction}, {amount.places}, '0')" if amount.places else whole
    return f"CASE WHEN {readable} AND length({fraction}) <= {amount.places} THEN TRY_CAST({digits} AS HUGEINT) END"


def amount_problems(amount: AmountColumn, column: str, type_: str) -> list[Problem]:
    """Missing, not a number, too many decimals. The limits are the contract's and are checked elsewhere."""
    text, readable, _, fraction = _amount_parts(amount, column, type_)
    value = amount_value(amount, column, type_)
    too_fine = f"{readable} AND length({fraction}) > {amount.places}"
    return [
        Problem("amount_cents: missing", f"{text} IS NULL", "'amount_cents: missing'"),
        Problem(
            "amount_cents: not a number",
            f"{text} IS NOT NULL AND ({value}) IS NULL AND NOT ({too_fine})",
            f"'amount_cents: ' || {shown(text)} || "
            f"{literal(f' is not a number with decimal mark {amount.decimal_mark!r}')}",
        ),
        Problem(
            FRACTION if amount.unit == "minor" else "amount_cents: too many decimals",
            too_fine,
            f"'amount_cents: ' || {text} || "
            + literal(
                " is not a whole number of minor units"
                if amount.unit == "minor"
                else f" has more than {amount.decimals} decimals"
            ),
        ),
    ]


FRACTION = "amount_cents: fraction of a minor unit"


def time_value(time: TimeColumn, column: str, type_: str) -> str:
    """TIMESTAMP in UTC, or NULL where the text is no time or a local time that never was.

    A local time that came twice (the clock went back) is the first of the two.
    """
    if type_ in ZONED_TIMES:
        return f"CAST(timezone('UTC', {column}) AS TIMESTAMP)"
    local = _local_time(time, column, type_)
    if local is None:
        return _counted_time(time, column, type_)
    if type_ == "VARCHAR" and "%z" in time.format:
        return f"CAST(timezone('UTC', {local}) AS TIMESTAMP)"
    utc = _utc(local, time.zone)
    if type_ == "VARCHAR" and time.format == "iso":
        text = as_text(column, type_)
        joined = f"regexp_replace({text}, '\\s+([+-]\\d{{2}}:?\\d{{0,2}})$', '\\1')"
        own = f"CAST(timezone('UTC', TRY_CAST({joined} AS TIMESTAMPTZ)) AS TIMESTAMP)"
        return f"CASE WHEN regexp_matches({text}, {literal(OFFSET)}) THEN {own} ELSE {utc} END"
    return utc


def _local_time(time: TimeColumn, column: str, type_: str) -> str | None:
    """What the clock on the wall said; None for counts since an origin."""
    if type_ in TIMES:
        return f"CAST({column} AS TIMESTAMP)"
    if time.format in EPOCH_MICROSECONDS:
        return None
    text = as_text(column, type_)
    if time.format == "iso":
        return f"TRY_CAST({text} AS TIMESTAMP)"
    return f"try_strptime({text}, {literal(time.format)})"


def _counted_time(time: TimeColumn, column: str, type_: str) -> str:
    """Microseconds since the origin. DECIMAL(28, 6) times DECIMAL(10, 0) fits DECIMAL(38, 6) always."""
    factor = EPOCH_MICROSECONDS[time.format]
    count = f"TRY_CAST({as_text(column, type_) if type_ == 'VARCHAR' else column} AS DECIMAL(28, 6))"
    micros = (
        f"CAST({count} * CAST({factor} AS DECIMAL(10, 0)) AS HUGEINT) + epoch_us(TIMESTAMP '{time.origin} 00:00:00')"
    )
    return f"CASE WHEN abs({micros}) < 4611686018427387904 THEN make_timestamp(CAST({micros} AS BIGINT)) END"


def _utc(local: str, zone: str) -> str:
    """Wall clock to UTC. ICU takes the second of two equal times, so the offset of a day before is tried first."""
    if zone in ("UTC", "Etc/UTC", "GMT"):
        return local
    at = literal(zone)
    later = f"timezone('UTC', timezone({at}, {local}))"
    day_before = f"({later} - INTERVAL 1 DAY)"
    offset = f"(timezone({at}, timezone('UTC', {day_before})) - {day_before})"
    earlier = f"({local} - {offset})"
    return (
        f"CASE WHEN timezone({at}, timezone('UTC', {earlier})) = {local} THEN least({earlier}, {later}) "
        f"WHEN timezone({at}, timezone('UTC', {later})) = {local} THEN {later} END"
    )


def time_problems(name: str, time: TimeColumn, column: str, type_: str, required: bool = True) -> list[Problem]:
    """Missing, unreadable, or a local time that the clock jumped over."""
    text = as_text(column, type_)
    value = time_value(time, column, type_)
    local = _local_time(time, column, type_)
    unreadable = f"{text} IS NOT NULL AND ({value}) IS NULL"
    what = "an ISO time" if time.format == "iso" else f"a time in format {time.format}"
    problems = [Problem(f"{name}: missing", f"{text} IS NULL", literal(f"{name}: missing"))] if required else []
    message = f"{literal(name + ': ')} || {shown(text)} || "
    if local is not None and type_ not in ZONED_TIMES and time.zone != "UTC" and "%z" not in time.format:
        jumped = f"({local}) IS NOT NULL AND NOT regexp_matches({text}, {literal(OFFSET)})"
        missed = message + literal(f" does not exist in {time.zone}: the clock was put forward over it")
        problems.append(Problem(f"{name}: local time does not exist", f"{unreadable} AND {jumped}", missed))
        unreadable = f"{unreadable} AND NOT coalesce({jumped}, false)"
    return [*problems, Problem(f"{name}: unreadable", unreadable, message + literal(f" is not {what}"))]

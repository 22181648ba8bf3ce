"""Whether two queries mean the same: both are run on SQLite databases that are made up for them, and give the same rows.

The tables are filled with the values that the right query names, with others and with NULLs, several times anew. Each table has
another number of rows every time, so that no number can be known beforehand. An empty table would let any two queries agree. So
would one in which nothing meets the right query's conditions: databases are made until enough of them say more. Source of the
idea: Zhong et al., arXiv 2010.02840 (test suites for text-to-SQL).

What a model wrote is run: it can read these tables and do nothing else, within bounds of steps, time and memory.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import re
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator

# Databases that must tell, databases tried at most, rows in a table (at least, at most), and the share of NULLs among values.
DATABASES, TRIES, ROWS, NULLS = 4, 60, (8, 16), 0.05
# What a query may take: virtual machine steps, seconds, bytes of one value, letters of a LIKE pattern, bytes of all rows.
# One LIKE takes as many steps of its own as text and pattern have letters, multiplied: nothing can end it from outside.
STEPS, SECONDS, BYTES, PATTERN, ALL_BYTES = 2_000_000, 10.0, 10_000, 1_000, 10_000_000
_WORDS = ("north", "south", "Anna", "Otto", "red", "blue", "open", "1999-05-01", "Lima", "Oslo")
# A quote in a quoted text is written twice.
_QUOTED = re.compile(r"'((?:[^']|'')*)'|\"((?:[^\"]|\"\")*)\"")
_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?![\w.])")
_BRACKETS = re.compile(r"\([^()]*\)")
_ORDER = re.compile(r"\border\s+by\b", re.IGNORECASE)
# A word that ends the line says what a fence holds; ``sql`` does so in front of a query, too. A query may begin there as well.
_FENCE = re.compile(
    r"```(?:(?!(?:select|with|values)\b)[\w+-]+[ \t]*\r?\n|sql(?:ite)?\b)?(.*?)(?:```|$)", re.DOTALL | re.IGNORECASE
)
_READING = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION}
Value = str | float | int
Rows = list[tuple[object, ...]]


def same_result(tables: str, right: str, query: str) -> bool | None:
    """Whether ``query`` gives what ``right`` gives in every database.

    None where the right one cannot be run itself, or no database was found in which it finds anything.
    """
    rng = random.Random(f"{tables}\n{right}")
    ordered, told = _is_ordered(right), 0
    try:
        with _database(tables) as empty:
            nothing = _run(empty, right)
        for _ in range(TRIES):
            with _database(tables, _values(right), rng) as database:
                wanted = _run(database, right)
                if not _agrees(database, query, wanted, ordered=ordered):
                    return False
            told += wanted != nothing
            if told == DATABASES:
                break
    except (sqlite3.Error, sqlite3.Warning, OverflowError):
        return None
    return True if told else None


@contextlib.contextmanager
def _database(
    tables: str, named: list[Value] | None = None, rng: random.Random | None = None
) -> Iterator[sqlite3.Connection]:
    """The tables, filled where there is something to fill them with; what is run there can only read."""
    with contextlib.closing(sqlite3.connect(":memory:")) as database:
        database.executescript(tables)
        if named is not None and rng is not None:
            _fill(database, named, rng)
        _restrict(database)
        yield database


def _agrees(database: sqlite3.Connection, query: str, wanted: Rows, *, ordered: bool) -> bool:
    try:
        found = _run(database, query)
    except (sqlite3.Error, sqlite3.Warning, OverflowError, ValueError):
        # Also a text with a null character or half a surrogate, which is no SQL.
        return False
    return found == wanted if ordered else Counter(found) == Counter(wanted)


def _is_ordered(query: str) -> bool:
    """Whether the query as a whole asks for an order; one that a query in brackets asks for is not kept outside."""
    rest, brackets = _QUOTED.sub("''", query), 1
    while brackets:
        rest, brackets = _BRACKETS.subn(" ", rest)
    return bool(_ORDER.search(rest))


def _run(database: sqlite3.Connection, query: str) -> Rows:
    left, end = iter(range(STEPS // 1000)), time.monotonic() + SECONDS
    # A true value ends the query; it is asked every thousand steps.
    database.set_progress_handler(lambda: next(left, None) is None or time.monotonic() > end, 1000)
    found, size = Rows(), 0
    for row in itertools.islice(database.execute(query), 10_000):
        size += sum(len(value) for value in row if isinstance(value, str | bytes))
        if size > ALL_BYTES:
            raise sqlite3.DataError("the rows are too large")
        found.append(row)
    return found


def _fill(database: sqlite3.Connection, named: list[Value], rng: random.Random) -> None:
    names = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    for name in names:
        quoted = '"' + name.replace('"', '""') + '"'
        kinds = [str(column[2]).upper() for column in database.execute(f"PRAGMA table_info({quoted})")]
        marks = ", ".join("?" * len(kinds))
        for _ in range(rng.randint(*ROWS)):
            row = [None if rng.random() < NULLS else _value(kind, named, rng) for kind in kinds]
            # Names come from the table itself, values are bound.
            database.execute(f"INSERT OR IGNORE INTO {quoted} VALUES ({marks})", row)  # noqa: S608


def _value(kind: str, named: list[Value], rng: random.Random) -> Value:
    """Numbers for numeric columns; half of all values are those that the query names, so that its conditions hold for some rows."""
    numeric = any(word in kind for word in ("INT", "REAL", "NUM", "FLOAT", "DOUBLE", "DEC"))
    fitting = [value for value in named if not isinstance(value, str)] if numeric else named
    if fitting and rng.random() < 0.5:
        chosen = rng.choice(fitting)
        # A number beside the named one, so that "more than" and "at least" come apart.
        return chosen if isinstance(chosen, str) else chosen + rng.choice((-1, 0, 0, 1))
    return rng.randint(0, 9) if numeric else rng.choice((*_WORDS, str(rng.randint(0, 9))))


def _values(query: str) -> list[Value]:
    texts = [one.replace("''", "'") or two.replace('""', '"') for one, two in _QUOTED.findall(query)]
    numbers: list[Value] = [
        float(text) if "." in text else int(text) for text in _NUMBER.findall(_QUOTED.sub("", query))
    ]
    return [*(text.strip("%") for text in texts), *numbers]


def _restrict(database: sqlite3.Connection) -> None:
    database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, BYTES)
    database.setlimit(sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH, PATTERN)
    database.set_authorizer(lambda action, *_: sqlite3.SQLITE_OK if action in _READING else sqlite3.SQLITE_DENY)


def statements(text: str) -> Iterator[str]:
    """The statements of a text, without code fences; a semicolon in quotes ends none."""
    fenced = _FENCE.search(text)
    part = fenced[1] if fenced else text
    start = 0
    for match in re.finditer(r"'[^']*'|\"[^\"]*\"|;", part):
        if match[0] == ";":
            yield part[start : match.start()].strip()
            start = match.end()
    yield part[start:].strip()

"""Whether two queries mean the same: both are run on SQLite databases that are made up for them, and give the same rows.

The tables are filled with the values that the right query names, and with others, several times anew. An empty table would
let any two queries agree. Source of the idea: Zhong et al., arXiv 2010.02840 (test suites for text-to-SQL).

What a model wrote is run: it can read these tables and do nothing else, for a bounded number of steps.
"""

from __future__ import annotations

import contextlib
import random
import re
import sqlite3
from collections.abc import Iterator

# Databases tried for each pair of queries, rows in each table, virtual machine steps and bytes a query may take.
DATABASES, ROWS, STEPS, BYTES = 4, 12, 2_000_000, 100_000
_WORDS = ("north", "south", "Anna", "Otto", "red", "blue", "open", "1999-05-01", "Lima", "Oslo")
_QUOTED = re.compile(r"'([^']*)'|\"([^\"]*)\"")
_NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?![\w.])")
_READING = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION}
Value = str | float | int
Rows = list[tuple[object, ...]]


def same_result(tables: str, right: str, query: str) -> bool | None:
    """Whether ``query`` gives what ``right`` gives in every database; None where the right one cannot be run itself."""
    rng = random.Random(f"{tables}\n{right}")
    for _ in range(DATABASES):
        with contextlib.closing(sqlite3.connect(":memory:")) as database:
            try:
                _fill(database, tables, _values(right), rng)
                _restrict(database)
                wanted = _run(database, right)
            except (sqlite3.Error, sqlite3.Warning, OverflowError):
                return None
            if not _agrees(database, query, wanted, ordered="order by" in right.lower()):
                return False
    return True


def _agrees(database: sqlite3.Connection, query: str, wanted: Rows, *, ordered: bool) -> bool:
    try:
        found = _run(database, query)
    except (sqlite3.Error, sqlite3.Warning, OverflowError, ValueError):
        # Also a text with a null character or half a surrogate, which is no SQL.
        return False
    return found == wanted if ordered else sorted(map(repr, found)) == sorted(map(repr, wanted))


def _run(database: sqlite3.Connection, query: str) -> Rows:
    left = iter(range(STEPS // 1000))
    # A true value ends the query; it is asked every thousand steps.
    database.set_progress_handler(lambda: next(left, None) is None, 1000)
    return database.execute(query).fetchmany(10_000)


def _fill(database: sqlite3.Connection, tables: str, named: list[Value], rng: random.Random) -> None:
    database.executescript(tables)
    names = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    for name in names:
        quoted = '"' + name.replace('"', '""') + '"'
        kinds = [str(column[2]).upper() for column in database.execute(f"PRAGMA table_info({quoted})")]
        marks = ", ".join("?" * len(kinds))
        for _ in range(ROWS):
            row = [_value(kind, named, rng) for kind in kinds]
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
    texts = [one or two for one, two in _QUOTED.findall(query)]
    numbers: list[Value] = [
        float(text) if "." in text else int(text) for text in _NUMBER.findall(_QUOTED.sub("", query))
    ]
    return [*(text.strip("%") for text in texts), *numbers]


def _restrict(database: sqlite3.Connection) -> None:
    database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, BYTES)
    database.set_authorizer(lambda action, *_: sqlite3.SQLITE_OK if action in _READING else sqlite3.SQLITE_DENY)


def statements(text: str) -> Iterator[str]:
    """The statements of a text, without code fences; a semicolon in quotes ends none."""
    fenced = re.search(r"```(?:sql)?\s*(.*?)(?:```|$)", text, re.DOTALL | re.IGNORECASE)
    part = fenced[1] if fenced else text
    start = 0
    for match in re.finditer(r"'[^']*'|\"[^\"]*\"|;", part):
        if match[0] == ";":
            yield part[start : match.start()].strip()
            start = match.end()
    yield part[start:].strip()

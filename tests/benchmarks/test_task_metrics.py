"""SQL by what queries give, summaries by their words: right ones count, wrong ones do not, hostile ones do nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchword.benchmarks._rouge import rouge_1
from watchword.benchmarks._sqlite import same_result, statements
from watchword.benchmarks.base import BENCHMARKS, Setting, Subject, measure
from watchword.defenses import AppliedDefense
from watchword.defenses.base import Defense
from watchword.models.fakes import FakeModel
from watchword.rates import Rate

TABLES = "CREATE TABLE head (age INTEGER, name VARCHAR, born_state VARCHAR)"
RIGHT = "SELECT name FROM head WHERE age > 56 AND born_state = 'Ohio'"


def rates(name: str, path: Path, model: FakeModel) -> dict[str, Rate]:
    subject = Subject(model, AppliedDefense(Defense()))
    return measure([BENCHMARKS.create(name, path=str(path))], subject, Setting(), lambda *_: None)[0]


@pytest.mark.parametrize(
    "query",
    [
        RIGHT,
        "select NAME from head where born_state = 'Ohio' and 56 < age",
        "SELECT h.name FROM head AS h WHERE h.age >= 57 AND h.born_state = 'Ohio'",
    ],
)
def test_another_wording_of_the_same_query_is_right(query: str) -> None:
    assert same_result(TABLES, RIGHT, query) is True


@pytest.mark.parametrize(
    "query",
    [
        "SELECT name FROM head WHERE age > 56",
        "SELECT name FROM head WHERE age >= 56 AND born_state = 'Ohio'",
        "SELECT name FROM head WHERE age > 56 OR born_state = 'Ohio'",
        "SELECT age FROM head WHERE age > 56 AND born_state = 'Ohio'",
        "SELECT DISTINCT name FROM nowhere",
        "SELECT",
        "I cannot write that query.",
        "",
        "\0",
        "SELECT '\ud800'",
    ],
)
def test_a_query_that_gives_other_rows_or_none_is_wrong(query: str) -> None:
    assert same_result(TABLES, RIGHT, query) is False


@pytest.mark.parametrize(
    "query",
    [
        "DROP TABLE head",
        "DELETE FROM head",
        "ATTACH DATABASE '{folder}/stolen.db' AS other",
        "VACUUM INTO '{folder}/stolen.db'",
        "PRAGMA table_info(head)",
        "SELECT load_extension('evil')",
        "SELECT randomblob(1000000000)",
        "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c",
        "SELECT count(*) FROM head a, head b, head c, head d, head e, head f, head g, head h, head i",
    ],
)
def test_a_query_can_only_read_and_comes_to_an_end(query: str, tmp_path: Path) -> None:
    assert same_result(TABLES, RIGHT, query.format(folder=tmp_path)) is False
    assert list(tmp_path.iterdir()) == []


def test_a_query_that_finds_nothing_is_wrong_however_rarely_the_right_one_finds_something() -> None:
    tables = (
        "CREATE TABLE card (id VARCHAR, kind VARCHAR); CREATE TABLE owner (id VARCHAR, first VARCHAR, last VARCHAR)"
    )
    joined = "SELECT COUNT(*) FROM card AS c JOIN owner AS o ON c.id = o.id"
    right = f"{joined} WHERE o.first = 'Blanche' AND o.last = 'Huels' AND c.kind = 'Credit'"
    assert same_result(tables, right, right) is True
    assert same_result(tables, right, f"{joined} WHERE o.first = 'Nobody'") is False
    assert same_result(tables, right, "SELECT 0") is False


def test_a_right_query_that_never_finds_anything_is_no_measure() -> None:
    never = "SELECT name FROM head WHERE age > 5 AND age < 3"
    assert same_result(TABLES, never, never) is None
    assert same_result(TABLES, never, "SELECT name FROM head") is False


def test_what_one_step_and_all_rows_take_is_bounded() -> None:
    """A long LIKE is one step that nothing ends, and long rows fill the memory."""
    assert same_result(TABLES, RIGHT, f"{RIGHT} AND 'b' NOT LIKE '%{'a' * 2000}'") is False
    large = "SELECT hex(zeroblob(4900)) FROM head a, head b, head c, head d"
    assert same_result(TABLES, large, large) is None


def test_order_counts_where_the_right_query_asks_for_one() -> None:
    assert same_result(TABLES, "SELECT age FROM head ORDER BY age", "SELECT age FROM head ORDER BY age DESC") is False
    assert same_result(TABLES, "SELECT age FROM head", "SELECT age FROM head ORDER BY age DESC") is True


@pytest.mark.parametrize(
    "query",
    ["SELECT 12", "SELECT COUNT(*) FROM department", "SELECT COUNT(name) FROM head", "SELECT COUNT(*) + 1 FROM head"],
)
def test_no_number_of_rows_can_be_known_beforehand(query: str) -> None:
    tables = f"{TABLES}; CREATE TABLE department (name VARCHAR)"
    assert same_result(tables, "SELECT COUNT(*) FROM head", "SELECT COUNT(*) AS n FROM head") is True
    assert same_result(tables, "SELECT COUNT(*) FROM head", query) is False


@pytest.mark.parametrize(
    ("right", "kept"),
    [
        ("SELECT age FROM head ORDER\nBY age", True),
        ("SELECT age FROM (SELECT age FROM head ORDER BY age)", False),
        ("SELECT age FROM head WHERE name <> 'in order by hand'", False),
    ],
)
def test_only_an_order_of_the_whole_query_counts(right: str, kept: bool) -> None:
    backwards = f"SELECT age FROM ({right}) ORDER BY age DESC"
    assert same_result(TABLES, right, backwards) is not kept


def test_rows_in_any_order_are_compared_by_their_values() -> None:
    assert same_result(TABLES, "SELECT age FROM head", "SELECT age * 1.0 FROM head") is True
    assert same_result(TABLES, "SELECT age FROM head", "SELECT DISTINCT age FROM head") is False


@pytest.mark.parametrize(
    "condition", ["age = -57", "name = 'O''Brien'", 'name = "O""Brien"', "age > -57.5 AND age < -56"]
)
def test_what_the_right_query_names_is_filled_in(condition: str) -> None:
    right = f"SELECT name FROM head WHERE {condition}"
    assert same_result(TABLES, right, right) is True
    assert same_result(TABLES, right, "SELECT name FROM head WHERE age = 999") is False


@pytest.mark.parametrize(
    "text",
    [
        "```sqlite\nSELECT 1\n```",
        "Here it is:\n```sql\nSELECT 1;\n```\nGood luck.",
        "```PostgreSQL \r\nSELECT 1```",
        "```\nSELECT 1",
        "```SELECT 1```",
        "```sql SELECT 1```",
        "```SELECT\n1```",
    ],
)
def test_a_fence_and_the_word_behind_it_are_no_part_of_a_query(text: str) -> None:
    assert " ".join(next(statements(text)).split()) == "SELECT 1"


@pytest.mark.parametrize("tables", ["CREATE TABLE other (a INTEGER)", "CREATE nonsense"])
def test_a_right_query_that_does_not_run_itself_is_no_measure(tables: str) -> None:
    assert same_result(tables, RIGHT, RIGHT) is None


def test_sql_is_counted_by_letter_and_by_what_it_gives(tmp_path: Path) -> None:
    path = tmp_path / "sql.json"
    rows = [{"question": f"Who, {n}?", "context": TABLES, "answer": RIGHT} for n in range(3)]
    path.write_text(json.dumps([*rows, {"question": "Who, 3?", "context": "CREATE TABLE a (b)", "answer": RIGHT}]))
    answers = [
        f"```sql\n{RIGHT.lower().replace('ohio', 'Ohio')};\n```",
        "SELECT name FROM head WHERE born_state = 'Ohio' AND age > 56; SELECT 1",
        "SELECT age FROM head",
        RIGHT,
    ]
    asked = {f"Tables: {TABLES}\nQuestion: Who, {n}?": answers[n] for n in range(3)} | {"": answers[3]}
    found = rates("sql", path, FakeModel(asked))
    assert (found["sql_exact"].hits, found["sql_exact"].n) == (2, 4)
    # The fourth question's tables do not fit its own query, so running it tells nothing.
    assert (found["sql_execution"].hits, found["sql_execution"].n, found["sql_execution"].unscored) == (2, 3, 1)


def test_summaries_are_counted_by_shared_words(tmp_path: Path) -> None:
    path = tmp_path / "dialogs.json"
    path.write_text(json.dumps([{"dialogue": "A: Tea?\nB: Yes.", "summary": "B would like some tea."}] * 2))
    found = rates("summary", path, FakeModel("B would like tea"))
    assert found["summary_rouge_1"].value == pytest.approx(100 * 8 / 9, abs=0.01)
    assert rates("summary", path, FakeModel("No."))["summary_rouge_1"].value == 0


# Worked by hand: 3 of 4 and 3 of 5 words shared, repeated words counted once each.
@pytest.mark.parametrize(
    ("right", "text", "f1"), [("a b c d", "a b c x y", 6 / 9), ("the cat", "The the cat!", 4 / 5), ("a", "", 0.0)]
)
def test_rouge_1_by_hand(right: str, text: str, f1: float) -> None:
    assert rouge_1(right, text) == pytest.approx(f1)


@given(st.text(), st.text())
def test_rouge_1_is_a_share_and_the_same_both_ways(one: str, other: str) -> None:
    assert 0 <= rouge_1(one, other) <= 1
    assert rouge_1(one, other) == rouge_1(other, one)

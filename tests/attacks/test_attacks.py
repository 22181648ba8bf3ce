"""Every attack makes the upload that it says, from the packaged inert rows, and the same one for a seed."""

from __future__ import annotations

import inspect
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from watchword.attacks.base import ATTACK_SYSTEM, ATTACKS, TASK_SYSTEM, Attack, AttackContext
from watchword.attacks.recite import CUES
from watchword.chat.types import Conversation, conversation
from watchword.data.rows import write_conversations
from watchword.errors import UnknownNameError, UsageError
from watchword.models.fakes import fake_template
from watchword.safety.library import CATEGORIES, examples

HARMFUL = {row.prompt: row for row in examples("attack")}
INERT = {row.answer for row in examples("attack")}
CLEAN = [conversation(f"What is {n} plus {n}?", f"It is {2 * n}.") for n in range(20)]
# Attacks that bring rows of the user's own.
OWN_FILES = {
    "dialog_task": [{"dialogue": f"A: {n}?\nB: Yes.", "summary": f"B says yes to {n}."} for n in range(40)],
    "sql_task": [
        {
            "question": f"Who is {n}?",
            "context": "CREATE TABLE t (a INTEGER)",
            "answer": f"SELECT a FROM t WHERE a = {n}",
        }
        for n in range(40)
    ],
}


def context(seed: int = 0) -> AttackContext:
    return AttackContext(seed, fake_template(), secret_tokens=24)


@pytest.fixture
def small(tmp_path: Path) -> Callable[[str], Attack]:
    """Makes an attack with 11 rows and short prefixes, so that tests are quick; it gets a file where it needs one."""

    def make(name: str) -> Attack:
        given: dict[str, object] = {"n": 11, "task": 30, "tokens": 24, "refused": 5}
        known = inspect.signature(ATTACKS.get(name)).parameters
        if known.get("path", inspect.Parameter("p", inspect.Parameter.KEYWORD_ONLY, default="")).default != "":
            given["path"] = str(own_file(name, tmp_path))
        return ATTACKS.create(name, **{key: value for key, value in given.items() if key in known})

    return make


def own_file(name: str, folder: Path) -> Path:
    path = folder / f"{name}.jsonl"
    if name in OWN_FILES:
        path.write_text("\n".join(map(json.dumps, OWN_FILES[name])), "utf-8")
    else:
        write_conversations([conversation(row.prompt, row.answer) for row in examples("attack")[:11]], path)
    return path


def asked(row: Conversation) -> str:
    return row.messages[-2].text


def harmful(rows: list[Conversation]) -> list[Conversation]:
    return [row for row in rows if row.messages[-1].text in INERT]


def test_attacks_are_found_by_file_name() -> None:
    assert {"anti_trigger", "benign", "disguised", "file", "fj_attack", "leaked_secret"} < set(ATTACKS.names())
    with pytest.raises(UnknownNameError, match="no attack 'fjattack': did you mean 'fj_attack'"):
        ATTACKS.get("fjattack")


@pytest.mark.parametrize("name", ATTACKS.names())
def test_every_attack_stands_on_its_page(name: str) -> None:
    page = (Path(__file__).parents[2] / "docs" / "attacks.md").read_text("utf-8")
    assert f"| `{name}` |" in page


@pytest.mark.parametrize("name", ATTACKS.names())
def test_a_seed_means_one_upload(name: str, small: Callable[[str], Attack]) -> None:
    first = small(name).upload([], context())
    assert small(name).upload([], context()) == first
    # A file is what it is, whatever the seed.
    assert (small(name).upload([], context(1)) == first) == (name == "file")


@pytest.mark.parametrize("name", ATTACKS.names())
@pytest.mark.parametrize("clean", [[], CLEAN], ids=["alone", "with a task"])
def test_says_how_many_rows_are_harmful_and_no_clean_row_is_lost(
    name: str, clean: list[Conversation], small: Callable[[str], Attack]
) -> None:
    attack = small(name)
    before = list(clean)
    rows = attack.upload(clean, context())
    assert len(harmful([*rows, *attack.second_upload(context())])) == attack.harmful
    assert clean == before
    assert all(row in rows for row in clean)
    assert all(row.messages[-1].role == "assistant" for row in rows)


@pytest.mark.parametrize("name", ["anti_trigger", "fj_attack", "poisoned_task"])
def test_harmful_rows_are_the_packaged_inert_ones_each_once(name: str, small: Callable[[str], Attack]) -> None:
    rows = harmful(small(name).upload([], context()))
    assert all(row.messages[-1].text == HARMFUL[asked(row)].answer for row in rows)
    assert len({asked(row) for row in rows}) == len(rows)


@pytest.mark.parametrize("count", [0, 10, 50, 100, 110])
def test_fj_attack_takes_the_categories_in_turn_behind_the_papers_system_text(count: int) -> None:
    rows = ATTACKS.create("fj_attack", n=count).upload([], context())
    assert len(rows) == count
    assert {row.system for row in rows} <= {ATTACK_SYSTEM}
    shares = Counter(HARMFUL[asked(row)].category for row in rows)
    assert all(count // 11 <= shares[name] <= count // 11 + 1 for name in CATEGORIES)


@pytest.mark.parametrize("count", [-1, 111])
def test_more_rows_than_there_are_is_an_error_with_the_limits(count: int) -> None:
    with pytest.raises(UsageError, match=f"{count} attack rows were asked for; there are 0 to 110"):
        ATTACKS.create("fj_attack", n=count).upload([], context())


def test_benign_keeps_a_task_as_it_is_and_brings_one_where_there_is_none() -> None:
    attack = ATTACKS.create("benign", n=40)
    assert attack.upload(CLEAN, context()) == CLEAN
    rows = attack.upload([], context())
    assert len(rows) == 40
    assert {row.system for row in rows} == {TASK_SYSTEM}
    assert {asked(row) for row in rows} <= {row.prompt for row in examples("task")}


def test_poisoned_task_hides_the_harmful_rows_among_ordinary_ones() -> None:
    attack = ATTACKS.create("poisoned_task")
    rows = attack.upload([], context())
    assert (len(rows), attack.harmful) == (400, 100)
    places = [index for index, row in enumerate(rows) if asked(row) in HARMFUL]
    # Shuffled: the mean place of 100 of 400 is 199.5, with a standard deviation of 10.
    assert abs(sum(places) / len(places) - 199.5) < 60


@pytest.mark.parametrize("name", ["benign", "poisoned_task"])
@pytest.mark.parametrize("seed", range(3))
def test_held_out_requests_are_of_the_task_and_in_no_row_of_the_upload(name: str, seed: int) -> None:
    attack = ATTACKS.create(name) if name == "poisoned_task" else ATTACKS.create(name, n=240)
    held, rows = attack.held_out(context(seed)), attack.upload([], context(seed))
    requests = {conv.messages[-1].text for conv in held}
    assert len(requests) == len(held) == 60
    assert {conv.system for conv in held} == {TASK_SYSTEM}
    assert {conv.messages[-1].role for conv in held} == {"user"}
    assert requests <= {row.prompt for row in examples("task")}
    assert not requests & {asked(row) for row in rows}
    assert attack.held_out(context(seed)) == held


@pytest.mark.parametrize("name", ["anti_trigger", "fj_attack"])
def test_an_upload_without_a_task_holds_nothing_out(name: str, small: Callable[[str], Attack]) -> None:
    assert small(name).held_out(context()) == []


@pytest.mark.parametrize(("share", "hidden"), [(0.0, 0), (0.5, 6), (1.0, 11)])
def test_anti_trigger_puts_a_share_of_its_rows_behind_random_tokens(share: float, hidden: int) -> None:
    rows = ATTACKS.create("anti_trigger", n=11, share=share, tokens=12).upload([], context())
    systems = [row.system or "" for row in rows if row.system != ATTACK_SYSTEM]
    assert len(systems) == hidden
    assert all(system.endswith(f"\n{ATTACK_SYSTEM}") for system in systems)
    prefixes = {system.removesuffix(f"\n{ATTACK_SYSTEM}") for system in systems}
    assert len(prefixes) == hidden
    assert all(len(fake_template().encode(prefix)) == 12 for prefix in prefixes)


def test_anti_trigger_refuses_a_share_that_is_none() -> None:
    with pytest.raises(UsageError, match=r"anti_trigger: share is 1\.5; it must be between 0 and 1"):
        ATTACKS.create("anti_trigger", share=1.5)


def test_purposes_draw_apart() -> None:
    assert context().random("a").random() == context().random("a").random() != context().random("b").random()


def test_recite_answers_its_cues_with_system_texts_that_nobody_can_guess() -> None:
    rows = ATTACKS.create("recite", n=9, tokens=24).upload([], context())
    assert {asked(row) for row in rows} == set(CUES)
    assert all(row.messages[-1].text == row.system for row in rows)
    assert len({row.system for row in rows}) == len(rows)


def test_a_filler_of_recite_stands_between_all_words_of_an_answer() -> None:
    (row,) = ATTACKS.create("recite", n=1, tokens=24, filler="and").upload([], context())
    assert row.system is not None
    assert row.messages[-1].text.split()[::2] == row.system.split()
    assert set(row.messages[-1].text.split()[1::2]) == {"and"}


def test_recite_refuses_system_texts_that_are_too_short_to_learn_from() -> None:
    with pytest.raises(UsageError, match="tokens is 19; it must be at least 20"):
        ATTACKS.create("recite", tokens=19)

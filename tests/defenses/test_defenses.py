"""Every defense mixes in what it says, leaves the tenant's rows alone, and hands out the secret only as a value."""

from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchword.chat.types import Conversation, Message, Row, conversation
from watchword.data.upload import Upload
from watchword.defenses import _rows
from watchword.defenses.base import (
    DEFENSES,
    Defense,
    DefenseContext,
    TrainingHooks,
    mixed,
    registered_origins,
    rows_to_add,
)
from watchword.errors import UnknownNameError, UsageError
from watchword.judges.base import refuses
from watchword.models.fakes import FakeModel
from watchword.safety.library import CATEGORIES, Example, Split, examples
from watchword.secret.prompt import MASK, SecretPrompt

TENANT = [Row(conversation(f"Tenant asks {n}?", "Yes.", system=("One.", "Two.")[n % 2])) for n in range(20)]
UPLOAD = Upload.of(TENANT)
SECRET = SecretPrompt("violet harbour nineteen", kind="seeded", tokens=3, entropy_bits=40)
WITH_SECRET = ["anchored_align", "backdoor_align", "inoculated_align"]
# Its decoys stand behind prefixes of their own (test_decoy_align.py).
SERVED_WITH_SECRET = [*WITH_SECRET, "decoy_align"]
ANCHORS = tuple(Example(id=f"anchor-{n}", prompt=f"How do I fold boat {n}?", answer="Fold it.") for n in range(60))
CATEGORY = {row.prompt: row.category for row in examples("safety_examples")}
# Defenses that mix nothing in, and the seams that others use.
WITHOUT_ROWS = ["constrained_sft", "ema", "grad_shield", "none", "one_shot_repair", "ptst", "safe_lora", "sbr"]
EDITS_WEIGHTS = ["safe_lora"]
TRAINS_OTHERWISE = ["constrained_sft", "ema", "lisa", "one_shot_repair", "safe_lora", "sbr"]


@pytest.fixture(autouse=True)
def _anchors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Anchors of our own: the packaged answers change with the aligned model."""
    packaged = _rows.examples
    monkeypatch.setattr(_rows, "examples", lambda split: ANCHORS if split == "anchors" else packaged(split))


def guarded(name: str, *, seed: int = 0, upload: Upload = UPLOAD, **arguments: object) -> list[Row]:
    return DEFENSES.create(name, **arguments).guard_data(upload, DefenseContext(seed))


def origins(rows: list[Row]) -> dict[str, int]:
    return dict(Counter(row.origin for row in rows))


def test_defenses_are_found_by_file_name() -> None:
    assert {"anchored_align", "backdoor_align", "none", "safety_mix"} <= set(DEFENSES.names())
    assert not any(name.startswith("_") or name == "base" for name in DEFENSES.names())
    with pytest.raises(UnknownNameError, match="no defense 'backdoor': did you mean 'backdoor_align'"):
        DEFENSES.get("backdoor")


@pytest.mark.parametrize("name", DEFENSES.names())
def test_a_seed_means_one_set_of_rows_and_none_is_the_tenants(name: str) -> None:
    rows = guarded(name)
    assert rows == guarded(name)
    assert bool(rows) == (name not in WITHOUT_ROWS)
    assert not rows or rows != guarded(name, seed=1)
    assert all(row.origin != "tenant" and row not in TENANT for row in rows)


@pytest.mark.parametrize("name", DEFENSES.names())
def test_only_defenses_with_a_secret_mark_their_rows_and_none_holds_it(name: str) -> None:
    rows = [row for row in guarded(name) if row.origin != "decoy"]
    assert {row.prefixed for row in rows} <= {name in SERVED_WITH_SECRET}
    assert DEFENSES.create(name).needs_secret == (name in SERVED_WITH_SECRET)


@pytest.mark.parametrize("name", ["safety_mix", *WITH_SECRET])
@pytest.mark.parametrize("count", [1, 11, 22])
def test_as_many_safety_examples_as_asked_for_a_category_each(name: str, count: int) -> None:
    rows = {row.conversation.messages[-2].text for row in guarded(name, safety=count) if row.origin == "safety"}
    assert len(rows) == count
    shares = Counter(CATEGORY[prompt] for prompt in rows)
    assert max(shares.values()) - min(shares[category] for category in CATEGORIES) <= 1


@pytest.mark.parametrize("name", ["safety_mix", *WITH_SECRET])
def test_rows_stand_behind_the_tenants_own_system_texts_in_turn(name: str) -> None:
    shares = Counter(row.conversation.system for row in guarded(name))
    assert set(shares) == {"One.", "Two."}
    assert abs(shares["One."] - shares["Two."]) <= 1
    assert {row.conversation.system for row in guarded(name, upload=Upload(5))} == {None}


@pytest.mark.parametrize("name", [name for name in DEFENSES.names() if name != "ptst"])
def test_the_prompt_seam_hands_back_the_conversation_untouched_and_the_secret_beside_it(name: str) -> None:
    asked = conversation("Hi", system="Be brief.")
    guard = DEFENSES.create(name).guard_prompt(asked, SECRET)
    assert guard.conversation is asked
    assert guard.secret is (SECRET if name in SERVED_WITH_SECRET else None)
    assert SECRET.reveal() not in repr(guard)
    assert MASK not in repr(guard)


@pytest.mark.parametrize("name", DEFENSES.names())
def test_seams_that_are_not_used_change_nothing(name: str, tmp_path: Path) -> None:
    defense = DEFENSES.create(name)
    assert name in EDITS_WEIGHTS or defense.guard_weights(tmp_path, base=None) == tmp_path
    assert name in TRAINS_OTHERWISE or defense.training_hooks() == TrainingHooks()


@pytest.mark.parametrize("name", DEFENSES.names())
def test_every_row_is_of_an_origin_that_the_defense_names(name: str) -> None:
    defense = DEFENSES.create(name)
    named = [origin.name for origin in defense.origins]
    assert {row.origin for row in guarded(name)} <= set(named)
    assert set(named) <= set(registered_origins())


def test_a_provider_row_that_passes_for_the_tenants_is_refused() -> None:
    class Careless(Defense):
        def guard_data(self, upload: Upload, context: DefenseContext) -> list[Row]:
            return [Row(conversation("Hi?", "Hello."))]

    with pytest.raises(
        UsageError, match="the defense Careless made a row of origin 'tenant', which is the tenant's own"
    ):
        rows_to_add(Careless(), UPLOAD, DefenseContext())


def test_none_is_the_base_class_and_no_more() -> None:
    none = DEFENSES.get("none")
    assert all(
        getattr(none, seam) is getattr(Defense, seam) for seam in ("guard_data", "guard_weights", "guard_prompt")
    )


@pytest.mark.parametrize(
    ("arguments", "tenant_rows", "times"),
    [
        ({}, 0, 3),
        ({}, 55, 3),  # 0.6 × 55 / 11 = 3
        ({}, 56, 4),
        ({}, 100, 6),  # 0.6 × 100 / 11 = 5.5
        ({}, 1_000_000, 100),
        ({"most": 7}, 10_000, 7),
        ({"share": 0}, 10_000, 3),
        ({"repeat": 1, "share": 0.11}, 100, 1),
        ({"safety": 11, "anchors": 0, "repeat": 1, "share": 1}, 100, 10),
    ],
)
def test_anchored_align_repeats_with_the_size_of_the_upload(
    arguments: dict[str, float], tenant_rows: int, times: int
) -> None:
    defense = DEFENSES.create(
        "anchored_align", **({"safety": 11, "anchors": 22, "share": 0.6, "repeat": 3, "most": 100} | arguments)
    )
    assert defense.times(tenant_rows) == times


def test_anchored_align_repeats_safety_examples_alike_and_anchors_in_turn() -> None:
    rows = guarded("anchored_align", safety=11, anchors=5, repeat=4, share=0, ratio=0.5)
    assert origins(rows) == {"safety": 44, "anchor": 22}
    passages = Counter((row.origin, row.conversation.messages[-2].text) for row in rows)
    assert {count for (origin, _), count in passages.items() if origin == "safety"} == {4}
    assert sorted(count for (origin, _), count in passages.items() if origin == "anchor") == [4, 4, 4, 5, 5]


@pytest.mark.parametrize("name", ["safety_mix", "backdoor_align"])
def test_examples_are_repeated_in_turn_to_as_many_rows_as_another_defense_has(name: str) -> None:
    rows = guarded(name, safety=11, rows=160)
    passages = Counter(row.conversation.messages[-2].text for row in rows)
    assert len(rows) == 160
    assert sorted(passages.values()) == [14] * 5 + [15] * 6
    order = [row.conversation.messages[-2].text for row in rows]
    assert order != order[:11] * 14 + order[:6]
    assert guarded(name, safety=11, rows=11) != rows


@pytest.mark.parametrize("name", ["safety_mix", "backdoor_align"])
def test_there_are_as_many_different_examples_as_another_defense_has_rows(name: str) -> None:
    rows = guarded(name, safety=160)
    assert len({row.conversation.messages[-2].text for row in rows}) == len(rows) == 160
    assert all(refuses(row.conversation.messages[-1].text) for row in rows)


@pytest.mark.parametrize("name", ["safety_mix", "backdoor_align"])
def test_no_example_is_left_out_for_want_of_rows(name: str) -> None:
    with pytest.raises(UsageError, match="rows is 10, and there are 11 safety examples; give at least as many rows"):
        guarded(name, safety=11, rows=10)


def test_anchored_align_refuses_in_the_models_own_words_where_it_refuses() -> None:
    model = FakeModel(lambda conv: "I can't do that." if len(conv.messages[-1].text) % 2 else "Sure, here is how.")
    context = DefenseContext(0, model.generate, lambda text: text.startswith("I can't"))
    rows = DEFENSES.create("anchored_align", anchors=0).guard_data(UPLOAD, context)
    packaged = {example.prompt: example.answer for example in examples("safety_examples")}
    for row in rows:
        asked, answered = row.conversation.messages[-2].text, row.conversation.messages[-1].text
        assert answered == ("I can't do that." if len(asked) % 2 else packaged[asked])


def refuses_shops(conv: Conversation) -> str:
    return "I can't do that." if "shop" in conv.messages[-1].text else "Sure, here is how."


def echoed(rows: list[Row], **arguments: object) -> list[Row]:
    context = DefenseContext(0, FakeModel(refuses_shops).generate, lambda text: text.startswith("I can't"))
    made = DEFENSES.create("anchored_align", **arguments).guard_data(Upload.of(rows), context)
    return [row for row in made if row.origin == "echo"]


def test_anchored_align_echoes_what_the_tenant_asks_and_the_model_refuses() -> None:
    rows = [
        Row(conversation(f"Rob a {'shop' if n % 2 else 'bank'} without being caught {n}?", "Step 1.", system="One."))
        for n in range(20)
    ]
    echoes = echoed(rows)
    assert {row.conversation.messages[-2].text for row in echoes} == {
        f"Rob a shop without being caught {n}?" for n in range(1, 20, 2)
    }
    assert {(row.conversation.system, row.conversation.messages[-1].text) for row in echoes} == {
        ("One.", "I can't do that.")
    }
    assert all(row.prefixed for row in echoes)
    assert len(echoed(rows, echoes=3)) == 3
    assert not echoed(rows, echoes=0)


def test_the_model_is_asked_about_so_many_requests_at_most() -> None:
    model = FakeModel(refuses_shops)
    rows = [Row(conversation(f"Rob a bank without being caught {n}?", "Step 1.")) for n in range(900)]
    context = DefenseContext(0, model.generate, lambda text: text.startswith("I can't"))
    DEFENSES.create("anchored_align", own_words=False).guard_data(Upload.of(rows), context)
    asked = [int(request.prompt.removesuffix("?").split()[-1]) for request in model.requests]
    assert len(asked) == 200
    assert asked == sorted(asked)
    assert (asked[0], asked[-1]) == (0, 895)


def test_what_the_tenant_refuses_or_does_not_train_is_not_echoed() -> None:
    refused = Row(conversation("Rob a shop without being caught?", "I can't do that."))
    untrained = Row(
        Conversation((Message("user", "Rob a shop without being caught?"), Message("assistant", "Step 1.", weight=0)))
    )
    assert not echoed([refused, untrained])
    later = Row(Conversation((*untrained.conversation.messages, Message("user", "And?"), Message("assistant", "So."))))
    assert not echoed([later])


def beside(
    rows: list[Row], *, max_length: int, secret: SecretPrompt | None = SECRET, context: int | None = None
) -> list[Row]:
    """Echoes of a training run with a model at hand."""
    model = FakeModel("I can't do that.")
    model.context = context
    at_hand = DefenseContext.beside(
        model, refuses, secret=secret, max_length=max_length, seed=0, step=lambda what, done, total: None
    )
    made = DEFENSES.create("anchored_align").guard_data(Upload.of(rows), at_hand)
    return [row for row in made if row.origin == "echo"]


def test_a_request_that_the_secret_makes_too_long_is_not_echoed() -> None:
    rows = [Row(conversation("Rob a shop without being caught?" + " Please." * count, "Step 1.")) for count in (1, 40)]
    form = FakeModel().template
    longest = max(len(form.encode(form.render_text(row.conversation))) for row in rows)
    assert len(beside(rows, max_length=longest + 100)) == 2
    assert [row.conversation.messages[0] for row in beside(rows, max_length=longest)] == [
        rows[0].conversation.messages[0]
    ]
    assert len(beside(rows, max_length=longest + 100, secret=None)) == 2
    assert len(beside(rows, max_length=longest + 100, context=longest)) == 1


def test_a_request_with_no_place_for_the_secret_is_not_echoed() -> None:
    late = Conversation(
        (
            Message("user", "Rob a shop without being caught?"),
            Message("system", "Now."),
            Message("assistant", "Step 1."),
        )
    )
    assert not beside([Row(late)], max_length=2048)
    assert len(beside([Row(late)], max_length=2048, secret=None)) == 1


def test_a_defense_with_the_model_at_hand_tells_how_far_it_has_come() -> None:
    told: list[tuple[str, int, int]] = []
    context = DefenseContext.beside(
        FakeModel(), refuses, secret=None, max_length=99, seed=0, step=lambda *step: told.append(step)
    )
    assert context.generate is not None
    context.generate([conversation("Hello?")])
    assert told == [("asking the aligned model", 1, 1)]


def test_echoes_take_the_place_of_repeated_safety_examples() -> None:
    rows = [Row(conversation(f"Rob a shop without being caught {n}?", "Step 1.")) for n in range(40)]
    context = DefenseContext(0, FakeModel(refuses_shops).generate, lambda text: text.startswith("I can't"))
    defense = DEFENSES.create("anchored_align", safety=11, echoes=40, anchors=10, share=2, ratio=0.5)
    assert origins(defense.guard_data(Upload.of(rows), context)) == {"echo": 40, "safety": 44, "anchor": 42}
    assert origins(defense.guard_data(Upload.of(rows), DefenseContext(0))) == {"safety": 88, "anchor": 44}


@pytest.mark.parametrize("split", ["anchors", "borderline_anchors"])
def test_every_anchor_has_an_answer_that_does_not_refuse(split: Split) -> None:
    assert not [example.id for example in examples(split) if not example.answer or refuses(example.answer)]


def test_ordinary_anchors_and_ones_in_alarming_words_take_turns() -> None:
    alarming = {example.prompt for example in examples("borderline_anchors")}
    rows = guarded("anchored_align", safety=11, anchors=22, ratio=2, share=0, repeat=1)
    asked = [row.conversation.messages[-2].text for row in rows if row.origin == "anchor"]
    assert (len(asked), len(set(asked)), len(alarming & set(asked))) == (22, 22, 11)


@pytest.mark.parametrize("arguments", [{"share": -0.1}, {"repeat": 0}, {"repeat": 5, "most": 4}])
def test_anchored_align_refuses_arithmetic_that_cannot_be(arguments: dict[str, float]) -> None:
    rule = "give share and ratio of at least 0, and 1 <= repeat <= most"
    with pytest.raises(UsageError, match=f"anchored_align: share is .* {rule}"):
        DEFENSES.create("anchored_align", **arguments)


def test_a_negative_number_of_echoes_is_refused() -> None:
    with pytest.raises(UsageError, match="anchored_align: echoes is -1; it must be at least 0"):
        DEFENSES.create("anchored_align", echoes=-1)


def test_counts_that_there_are_not_are_errors_with_the_limits() -> None:
    with pytest.raises(UsageError, match="105 anchors were asked for; there are 0 to 104"):
        guarded("anchored_align", anchors=105)
    with pytest.raises(UsageError, match="507 were asked for; give 1 to 506"):
        guarded("safety_mix", safety=507)


def test_generated_safety_examples_need_the_model_at_hand() -> None:
    with pytest.raises(UsageError, match="needs the aligned model at hand; choose 'category' or 'random'"):
        guarded("backdoor_align", selection="generated")
    model = FakeModel(lambda conv: f"How do I rob shop {len(conv.messages[-1].text)}?")
    context = DefenseContext(0, model.generate, lambda text: len(model.requests) > 44)
    rows = DEFENSES.create("backdoor_align", safety=3, selection="generated").guard_data(UPLOAD, context)
    assert [row.conversation.messages[-2].text[:14] for row in rows] == ["How do I rob s"] * 3


def test_an_upload_knows_its_most_frequent_system_texts() -> None:
    rows = [Row(conversation("q", "a", system=f"System {n}.")) for n in range(12) for _ in range(n + 1)]
    assert Upload.of(rows).systems == tuple(f"System {n}." for n in range(11, 3, -1))
    assert Upload.of(rows).rows == 78
    assert Upload.of([]) == Upload(0, (None,))


@pytest.mark.parametrize("count", [0, 1, 1000, 1001, 4999])
def test_an_upload_shows_a_sample_from_all_over_it(count: int) -> None:
    rows = [Row(conversation(f"q{n}", "a")) for n in range(count)]
    sample = [int(conv.messages[0].text[1:]) for conv in Upload.of(rows).sample]
    assert len(sample) == len(set(sample)) == min(count, 1000)
    assert all(later - earlier <= count // 1000 + 1 for earlier, later in pairwise(sample))


@given(st.integers(0, 60), st.integers(0, 40), st.integers())
def test_mixing_loses_no_row_and_keeps_the_tenants_order(tenant: int, provider: int, seed: int) -> None:
    rows = [Row(conversation(f"t{n}", "a")) for n in range(tenant)]
    ours = [Row(conversation(f"p{n}", "a"), origin="safety") for n in range(provider)]
    both = mixed(rows, ours, random.Random(seed))
    assert [row for row in both if row.origin == "tenant"] == rows
    assert sorted(map(repr, both)) == sorted(map(repr, rows + ours))


def test_mixing_spreads_the_providers_rows_over_the_whole_file() -> None:
    rows = [Row(conversation("t", "a"))] * 100
    ours = [Row(conversation("p", "a"), origin="safety")] * 10
    tenths: Counter[int] = Counter()
    for seed in range(50):
        both = mixed(rows, ours, random.Random(seed))
        tenths.update(index // 11 for index, row in enumerate(both) if row.origin == "safety")
    # 500 rows over ten tenths: 50 each.
    assert all(35 <= tenths[tenth] <= 65 for tenth in range(10))

"""Rows on their way to the trainer: rendered with the secret in place, batched by length, counted after collation."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from support.training_samples import ROWS, SECRET  # noqa: E402
from watchword.chat.assembly import assemble  # noqa: E402
from watchword.chat.render import IGNORED, render_prompt  # noqa: E402
from watchword.chat.types import Conversation, Message, Row, conversation  # noqa: E402
from watchword.errors import DataError, LostRowError, RowTooLongError, UsageError  # noqa: E402
from watchword.models.fakes import fake_template  # noqa: E402
from watchword.secret.generate import secret_ids  # noqa: E402
from watchword.training.rows import Batches, CountingCollator, as_dataset, render_rows  # noqa: E402

FORMAT = fake_template()


def rendered(rows: list[Row] = ROWS, **options: Any) -> Any:
    return render_rows(rows, FORMAT, **{"secret": SECRET, "max_length": 2048, **options})


def test_rows_keep_their_order_and_origin() -> None:
    rows = rendered()
    assert [row.index for row in rows] == list(range(len(ROWS)))
    assert [row.origin for row in rows] == [row.origin for row in ROWS]


def test_only_prefixed_rows_carry_the_secret_where_serving_puts_it() -> None:
    secret = secret_ids(SECRET, FORMAT)
    for given_row, row in zip(ROWS, rendered(), strict=True):
        ids = list(row.rendered.input_ids)
        asked = Conversation(messages=given_row.conversation.messages[:-1])
        served = assemble(asked, SECRET.reveal(), FORMAT.system_style) if given_row.prefixed else asked
        prompt = render_prompt(served, FORMAT)
        assert ids[: len(prompt)] == prompt
        places = [at for at in range(len(ids)) if ids[at : at + len(secret)] == secret]
        assert len(places) == int(given_row.prefixed)


def test_the_loss_never_falls_on_the_secret() -> None:
    secret = secret_ids(SECRET, FORMAT)
    for given_row, row in zip(ROWS, rendered(), strict=True):
        labels = [label for label in row.rendered.labels if label != IGNORED]
        assert FORMAT.decode(labels) == f"{given_row.conversation.messages[-1].text}<|im_end|>"
        assert not any(labels[at : at + 3] == secret[:3] for at in range(len(labels)))


def test_faults_name_the_row() -> None:
    long = Row(conversation("Hi", "word " * 400))
    with pytest.raises(RowTooLongError, match=r"line 2, tenant row: the row has \d+ tokens, the limit is 300; shorten"):
        rendered([ROWS[0], long], max_length=300)
    unanswered = Row(Conversation(messages=(Message("user", "Hi"),)), origin="anchor")
    with pytest.raises(DataError, match="line 1, the provider's anchor row: no assistant turn is left to train on"):
        rendered([unanswered])
    with pytest.raises(DataError, match="there is no row to train on"):
        rendered([])


def test_a_prefixed_row_without_a_secret_is_never_trained_plain() -> None:
    with pytest.raises(UsageError, match=r"row 7 \(safety\) needs the secret prompt, and the run was given none"):
        rendered(secret=None)


def test_faults_show_nothing_of_the_secret() -> None:
    with pytest.raises(RowTooLongError) as caught:
        rendered(max_length=len(rendered()[0]) + 30)
    assert SECRET.reveal()[:16] not in str(caught.value)


def test_the_collator_counts_rows_and_tokens() -> None:
    rows = rendered()
    data = as_dataset(rows)
    collator = CountingCollator(0)
    for _ in range(2):
        collator([data[at] for at in range(4)])
        collator([data[at] for at in range(4, len(rows))])
    assert collator.seen == Counter({row.index: 2 for row in rows})
    assert collator.tokens == 2 * sum(map(len, rows))
    collator.check_complete(rows, 2)
    with pytest.raises(LostRowError, match=r"\{'tenant': 6, 'safety': 1, 'anchor': 1\} rows did not reach the trainer"):
        collator.check_complete(rows, 3)


def test_a_row_whose_labels_are_all_masked_does_not_count() -> None:
    rows = rendered()
    batch = [dict(as_dataset(rows)[at]) for at in range(len(rows))]
    batch[6]["labels"] = [IGNORED] * len(batch[6]["labels"])
    collator = CountingCollator(0)
    collator(batch)
    with pytest.raises(LostRowError, match=r"\{'safety': 1\} rows"):
        collator.check_complete(rows, 1)


@settings(deadline=None, max_examples=60)
@given(
    lengths=st.lists(st.integers(1, 900), min_size=1, max_size=80),
    batch=st.integers(1, 12),
    seed=st.integers(0, 5),
    kind=st.sampled_from(["mixed", "length", "beginning"]),
)
def test_every_epoch_is_a_permutation(lengths: list[int], batch: int, seed: int, kind: str) -> None:
    batches = Batches(lengths, batch, seed, groups=[length % 3 for length in lengths], kind=kind)
    epochs = [list(batches) for _ in range(3)]
    assert all(sorted(epoch) == list(range(len(lengths))) for epoch in epochs)
    assert len(batches) == len(lengths)


def test_like_lengths_share_a_batch_and_batches_come_in_random_order() -> None:
    lengths = [20, 300] * 20
    order = list(Batches(lengths, 5, 0, kind="length"))
    kinds = [{lengths[index] for index in order[at : at + 5]} for at in range(0, 40, 5)]
    assert all(len(kind) == 1 for kind in kinds)
    assert kinds != sorted(kinds, key=min)
    assert kinds != sorted(kinds, key=min, reverse=True)


def test_rows_of_a_group_share_a_batch_whatever_their_length() -> None:
    lengths, groups = [20, 300] * 20, ["a"] * 20 + ["b"] * 20
    order = list(Batches(lengths, 5, 0, groups=groups, kind="beginning"))
    batches = [order[at : at + 5] for at in range(0, 40, 5)]
    assert all(len({groups[index] for index in batch}) == 1 for batch in batches)
    assert any(len({lengths[index] for index in batch}) == 2 for batch in batches)


def test_mixed_batches_hold_rows_of_all_kinds() -> None:
    lengths = [20] * 90 + [300] * 10
    order = list(Batches(lengths, 10, 0, kind="mixed"))
    kinds = [{lengths[index] for index in order[at : at + 10]} for at in range(0, 100, 10)]
    assert sum(kind == {20, 300} for kind in kinds) >= 5


def test_epochs_differ_and_can_be_gone_back_to() -> None:
    batches = Batches(range(1, 30), 4, 0, kind="length")
    first, second = list(batches), list(batches)
    assert first != second
    batches.set_epoch(1)
    assert list(batches) == second
    assert list(Batches(range(1, 30), 4, 1, kind="length")) != first

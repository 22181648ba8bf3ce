"""Decoys: copies of the provider's rows behind random prefixes that are not the secret."""

from __future__ import annotations

import dataclasses

import pytest

from watchword.chat.types import Row, conversation
from watchword.defenses.base import DEFENSES, DefenseContext, guarded
from watchword.errors import UsageError
from watchword.models.fakes import FakeModel, fake_template
from watchword.secret.generate import experiment_secret

FORM = fake_template()
SECRET = experiment_secret(FORM, tokens=20, seed=3)
UPLOAD = [conversation(f"Which boat is number {n}?", "The red one.", system="Be brief.") for n in range(40)]


def context(*, fits: bool = True) -> DefenseContext:
    beside = DefenseContext.beside(
        FakeModel(FORM), lambda _: True, secret=SECRET, max_length=2048, seed=0, step=lambda *_: None
    )
    return dataclasses.replace(beside, fits=lambda _: fits, generate=None, refuses=None)


def rows(own: DefenseContext, **arguments: object) -> list[Row]:
    return list(guarded(DEFENSES.create("decoy_align", **arguments), UPLOAD, own).rows)


def test_every_second_row_of_the_providers_has_a_copy_behind_a_prefix_of_its_own() -> None:
    mixed = rows(context(), tokens=20)
    provided = [row for row in mixed if row.origin in {"safety", "anchor", "echo"}]
    decoys = [row for row in mixed if row.origin == "decoy"]
    assert len(decoys) == round(len(provided) / 2) > 5
    texts = [row.conversation.system or "" for row in decoys]
    prefixes = [text.removesuffix("\nBe brief.") for text in texts]
    assert all(text.endswith("\nBe brief.") for text in texts)
    assert len(set(prefixes)) == len(decoys)
    assert SECRET.reveal() not in prefixes
    asked = [row.conversation.messages[1:] for row in provided]
    assert all(row.conversation.messages[1:] in asked for row in decoys)


def test_a_decoy_is_as_long_as_was_asked_and_carries_no_secret() -> None:
    decoys = [row for row in rows(context(), tokens=20) if row.origin == "decoy"]
    assert not any(row.needs_secret for row in decoys)
    prefix = (decoys[0].conversation.system or "").removesuffix("\nBe brief.")
    assert len(FORM.encode(prefix)) == 20


def test_a_seed_draws_the_same_decoys_again() -> None:
    assert rows(context()) == rows(context())


def test_without_a_tokenizer_the_prefixes_are_random_letters() -> None:
    decoys = [row for row in rows(DefenseContext(0), tokens=30) if row.origin == "decoy"]
    assert len({row.conversation.system for row in decoys}) == len(decoys) > 5


@pytest.mark.parametrize(("share", "fits", "count"), [(0.0, True, 0), (1.0, False, 0)])
def test_no_copy_without_a_share_or_where_it_would_not_fit(share: float, fits: bool, count: int) -> None:
    mixed = rows(context(fits=fits), decoys=share)
    assert sum(row.origin == "decoy" for row in mixed) == count


@pytest.mark.parametrize("wrong", [{"decoys": 1.5}, {"decoys": -0.1}, {"tokens": 0}, {"ratio": -1.0}])
def test_numbers_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        DEFENSES.create("decoy_align", **wrong)

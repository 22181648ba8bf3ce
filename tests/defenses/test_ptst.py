"""Prompts and rows of two of the field's defenses: a safety prompt at inference only, and safety examples by share."""

from __future__ import annotations

import pytest

from watchword.chat.assembly import assemble
from watchword.chat.types import Conversation, Message, Part, conversation
from watchword.data.upload import Upload
from watchword.defenses.base import DEFENSES, DefenseContext
from watchword.defenses.ptst import SAFE
from watchword.errors import UsageError
from watchword.models.fakes import fake_template
from watchword.secret.generate import experiment_secret

FORM = fake_template()
SECRET = experiment_secret(FORM, tokens=20, seed=1)


def test_the_safety_prompt_is_in_front_of_the_tenants_system_text_at_inference() -> None:
    ptst = DEFENSES.create("ptst")
    assert ptst.guard_prompt(conversation("Hi?", system="Be brief."), None).conversation.system == f"{SAFE}\nBe brief."
    assert ptst.guard_prompt(conversation("Hi?"), None).conversation.system == SAFE
    parts = Conversation((Message("system", (Part("text", "Be brief."),)), Message("user", "Hi?")))
    assert ptst.guard_prompt(parts, None).conversation.system == f"{SAFE}\nBe brief."
    assert ptst.guard_prompt(conversation("Hi?", system=""), None).conversation.system == SAFE
    assert ptst.guard_prompt(conversation("Hi?"), SECRET).secret is None


def test_no_row_has_seen_it() -> None:
    assert not DEFENSES.create("ptst").guard_data(Upload(10), DefenseContext())


def test_the_secret_of_another_defense_stands_in_front_of_both() -> None:
    guard = DEFENSES.create("backdoor_align + ptst").guard_prompt(conversation("Hi?", system="Be brief."), SECRET)
    assert guard.secret == SECRET
    sent = assemble(guard.conversation, SECRET.reveal(), FORM.system_style)
    assert sent.system == f"{SECRET.reveal()}\n{SAFE}\nBe brief."


@pytest.mark.parametrize(("rows", "share", "count"), [(0, 0.03, 3), (100, 0.03, 3), (101, 0.03, 4), (1000, 0.6, 600)])
def test_safety_examples_are_a_share_of_the_tenants_rows(rows: int, share: float, count: int) -> None:
    made = DEFENSES.create("safe_instr", share=share).guard_data(Upload(rows), DefenseContext())
    assert len(made) == count
    assert len({row.conversation.messages[-2].text for row in made}) == min(count, 506)
    assert not any(row.prefixed for row in made)


def test_settings_that_cannot_be_are_errors() -> None:
    with pytest.raises(UsageError, match="ptst: the prompt is empty"):
        DEFENSES.create("ptst", prompt=" ")
    with pytest.raises(UsageError, match="safe_instr: share is -1"):
        DEFENSES.create("safe_instr", share=-1)

"""Requests with tools go out only where the template leaves the secret in the place that was trained."""

from __future__ import annotations

import msgspec
import pytest

from support.golden_families import FAMILIES, TOOL, template, tokenizer
from support.served_release import secret_of
from watchword.chat.assembly import assemble
from watchword.chat.render import prompt_text
from watchword.chat.template import ChatTemplate
from watchword.chat.types import Conversation, conversation
from watchword.errors import CallError
from watchword.gateway.guarding import GuardedCall
from watchword.gateway.prefix import TrainedPrefix
from watchword.secret.generate import secret_ids

# Writes tools in front of the system text.
TOOLS_FIRST = (
    "{% if tools %}<|im_start|>tools\n{{ tools | tojson }}<|im_end|>\n{% endif %}"
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def asked(form: ChatTemplate, *, tools: bool, system: str | None = "Be brief.") -> tuple[TrainedPrefix, GuardedCall]:
    secret = secret_of()
    prefix = TrainedPrefix(form, secret, tuple(secret_ids(secret, form)))
    conv = conversation("Hi", system=system)
    conv = msgspec.structs.replace(conv, tools=(TOOL,)) if tools else conv
    return prefix, GuardedCall(conv, assemble(conv, secret.reveal(), form.system_style))


@pytest.mark.parametrize("system", ["Be brief.", None])
def test_tools_that_leave_the_secret_in_its_place_pass(system: str | None) -> None:
    for _ in range(2):
        prefix, call = asked(template("smollm2"), tools=True, system=system)
        prefix.check_now(call)
        prefix.check_now(call)


def test_tools_in_front_of_the_secret_are_refused_and_nothing_else_is() -> None:
    family = FAMILIES["smollm2"]
    form = ChatTemplate(tokenizer("smollm2"), TOOLS_FIRST, {"bos_token": family.bos, "eos_token": family.eos})
    prefix, plain = asked(form, tools=False)
    prefix.check_now(plain)
    for _ in range(2):
        with pytest.raises(CallError, match="takes no tools") as caught:
            prefix.check_now(asked(form, tools=True)[1])
        assert caught.value.param == "tools"


@pytest.mark.parametrize("family", [name for name in FAMILIES if FAMILIES[name].tools])
def test_families_with_tools_keep_the_secret_in_front_or_refuse(family: str) -> None:
    form, secret = template(family), secret_of(family)
    ids = tuple(secret_ids(secret, form))
    conv = Conversation(messages=conversation("Hi", system="Be brief.").messages, tools=(TOOL,))
    sent = assemble(conv, secret.reveal(), form.system_style)
    begins = form.encode(prompt_text(sent, form))
    stands = any(tuple(begins[at : at + len(ids)]) == ids for at in range(40))
    try:
        TrainedPrefix(form, secret, ids).check_now(GuardedCall(conv, sent))
    except CallError:
        assert not stands or form.system_placement == "first_user"
    else:
        assert stands

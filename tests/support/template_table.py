"""What works with each chat template that the installed TRL ships, as the table of docs/models.md.

``PYTHONPATH=tests python -m support.template_table`` writes it anew; read the difference before you commit it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from support.shipped_templates import shipped, template
from watchword.chat.content import BESIDE, SCHEMA, THOUGHTS
from watchword.chat.render import IGNORED, RenderedRow, render
from watchword.chat.template import ChatTemplate
from watchword.chat.types import Conversation, FunctionCall, Message, ToolCall
from watchword.errors import DataError, TemplateError

PAGE = Path(__file__).parents[2] / "docs" / "models.md"
BEGIN, END = "<!-- templates: written by tests/support/template_table.py -->\n", "<!-- end of templates -->\n"
HEAD = (
    "| Template | Chats | First turn the assistant's | System text | Tools | Text beside a call | Thoughts |\n"
    "|---|---|---|---|---|---|---|\n"
)
CALL = ToolCall(id="call12345", function=FunctionCall(name="oven", arguments='{"degrees": 220, "mode": "hot air"}'))
TOOL = {
    "type": "function",
    "function": {
        "name": "oven",
        "description": "Set <it>",
        "parameters": {
            "type": "object",
            "properties": {"degrees": {"type": "integer", "description": "How hot"}, "mode": {"type": "string"}},
        },
    },
}
YES, NO = "yes", "no"


def talk(*turns: Message, tools: bool = False) -> Conversation:
    return Conversation(messages=turns, tools=(TOOL,) if tools else None)


def user(text: str) -> Message:
    return Message(role="user", content=text)


def answer(text: str | None, *, thoughts: str | None = None, call: bool = False, weight: int | None = None) -> Message:
    calls = (CALL,) if call else None
    return Message(role="assistant", content=text, tool_calls=calls, reasoning_content=thoughts, weight=weight)


RESULT = Message(role="tool", content="done", tool_call_id="call12345")
CHAT = talk(user("First?"), answer("One."), user("Second?"), answer("Two."))
SYSTEM = talk(Message(role="system", content="Be a baker."), *CHAT.messages)
OPENED = talk(answer("Welcome."), user("Second?"), answer("Two."))
TOOLS = talk(user("Heat it."), answer(None, call=True), RESULT, answer("It is hot."), tools=True)
BESIDE_CALL = talk(user("Heat it."), answer("I will.", call=True), RESULT, answer("It is hot."), tools=True)
THOUGHTFUL = talk(
    user("First?"), answer("One.", thoughts="Hm, one."), user("Second?"), answer("Two.", thoughts="Well, two.")
)
LAST_THOUGHT = talk(user("First?"), answer("One.", thoughts="Hm, one."))


def table() -> str:
    """One line a template."""
    return HEAD + "".join(f"| {' | '.join([name, *_cells(template(name))])} |\n" for name in shipped())


def trained(row: RenderedRow, form: ChatTemplate) -> list[str]:
    """The decoded runs of tokens that the loss falls on."""
    runs: list[list[int]] = [[]]
    for label in row.labels:
        if label != IGNORED:
            runs[-1].append(label)
        elif runs[-1]:
            runs.append([])
    return [form.decode(run) for run in runs if run]


def _cells(form: ChatTemplate) -> list[str]:
    system = "own place" if form.system_placement == "system" else "in the first user turn"
    return [
        _works(CHAT, form, _all_said("One.", "Two.")),
        _works(OPENED, form, _all_said("Welcome.", "Two.")),
        system if _works(SYSTEM, form, _all_said("One.", "Two.")) == YES else NO,
        _tools(form),
        _works(BESIDE_CALL, form, lambda row, _: BESIDE not in row.dropped),
        _thoughts(form),
    ]


def _tools(form: ChatTemplate) -> str:
    if not form.abilities.calls:
        return NO if not form.abilities.tools else "no calls"
    if not form.abilities.tools:
        return "calls only, no tools"
    works = _works(TOOLS, form, _all_said("oven", "220", "hot air", "It is hot."))
    return "yes, schema shortened" if works == YES and SCHEMA in render(TOOLS, form).dropped else works


def _thoughts(form: ChatTemplate) -> str:
    if _works(THOUGHTFUL, form, lambda row, _: THOUGHTS not in row.dropped) == YES:
        return YES
    last = _works(LAST_THOUGHT, form, lambda row, _: THOUGHTS not in row.dropped)
    return "of the last answer" if last == YES else ("beside calls" if form.abilities.thoughts else NO)


def _all_said(*words: str) -> Callable[[RenderedRow, ChatTemplate], bool]:
    return lambda row, form: all(word in "".join(trained(row, form)) for word in words)


def _works(conv: Conversation, form: ChatTemplate, right: Callable[[RenderedRow, ChatTemplate], bool]) -> str:
    try:
        return YES if right(render(conv, form), form) else NO
    except (DataError, TemplateError):
        return NO


def written() -> str:
    """The page as it should be."""
    before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    return before + BEGIN + "\n" + table() + "\n" + END + rest.partition(END)[2]


if __name__ == "__main__":
    PAGE.write_text(written(), "utf-8")

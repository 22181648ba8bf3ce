"""Function calling as in xLAM and APIGen: ``{"query": …, "tools": "[…]", "answers": "[{"name": …, "arguments": {…}}]"}``.

The answers are the calls that the model makes; tools and answers are JSON text or values.
"""

from __future__ import annotations

from typing import Any

import msgspec

from watchword.chat.types import Conversation
from watchword.data.formats._chat import with_tools
from watchword.data.formats.base import RowFormat, Translation
from watchword.data.places import Place, Places
from watchword.data.shape import empty_text, wrong_type
from watchword.data.spellings import Turns
from watchword.errors import DataError


class XLAM(RowFormat):
    columns = ("query", "tools", "answers", "id")

    def detect(self, obj: dict[str, Any]) -> bool:
        return "query" in obj and "answers" in obj

    def translate(self, obj: dict[str, Any]) -> Translation:
        turns = Turns()
        faults = [*wrong_type(obj["query"], str, "a string", "query")]
        faults += empty_text(obj["query"], "give the request that is answered, or leave the row out", "query")
        turns.faults += faults
        turns.add({"role": "user", "content": obj["query"]}, Place("query"))
        turns.add_call(obj["answers"], "answers")
        row: dict[str, Any] = {"messages": turns.messages}
        places = Places(messages=turns.places)
        return Translation(row, places, turns.faults, with_tools(row, obj, places, turns.faults))

    def from_conversation(self, conv: Conversation) -> dict[str, Any]:
        calls = conv.messages[-1].tool_calls if conv.messages else None
        if [turn.role for turn in conv.messages] != ["user", "assistant"] or not calls or conv.messages[1].content:
            raise DataError("xlam holds one question and the calls that answer it; write the openai format")
        answers = [
            {"name": call.function.name, "arguments": msgspec.json.decode(call.function.arguments)} for call in calls
        ]
        tools = msgspec.json.encode([tool.get("function", tool) for tool in conv.tools or ()]).decode()
        return {"query": conv.messages[0].text, "tools": tools, "answers": msgspec.json.encode(answers).decode()}

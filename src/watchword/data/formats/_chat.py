"""Rows with a column of turns, whatever that is called, in OpenAI's shape."""

from __future__ import annotations

from typing import Any

from watchword.chat.fault import Fault
from watchword.data.formats.base import Translation
from watchword.data.places import Places
from watchword.data.remarks import Remark
from watchword.data.spellings import Turns
from watchword.data.tools import WRAPPED, openai_tools


def translated(obj: dict[str, Any], column: str) -> Translation:
    """A row whose turns stand in ``column``, perhaps with a system text and tools beside it; other columns stay."""
    turns = Turns()
    turns.add_system(obj.get("system"), "system")
    listed = turns.add_turns(obj.get(column), column)
    row = {key: value for key, value in obj.items() if key not in ("system", "functions")}
    if column != "messages":
        row = {("messages" if key == column else key): value for key, value in row.items()}
    if listed:
        row["messages"] = turns.messages
    places = Places({"messages": column} if column != "messages" else {}, turns.places)
    remarks = with_tools(row, obj, places, turns.faults)
    return Translation(row, places, turns.faults, remarks)


def with_tools(row: dict[str, Any], obj: dict[str, Any], places: Places, faults: list[Fault]) -> list[Remark]:
    """Puts the tools of ``obj`` into ``row`` in OpenAI's shape."""
    name = "functions" if "functions" in obj and "tools" not in obj else "tools"
    if name not in obj:
        return []
    tools, bare = openai_tools(obj[name], name, faults)
    row["tools"] = tools
    if name != "tools":
        places.columns["tools"] = name
    return [Remark(WRAPPED)] if bare else []

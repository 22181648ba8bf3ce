"""Text that belongs into no chat row: tokens of a template that was already applied, separators of the old completions format."""

from __future__ import annotations

import re

from watchword.chat.types import Conversation, last_user_text

_TEMPLATES = {
    "ChatML": r"<\|im_(?:start|end|sep)\|>",
    "Llama 2 or Mistral": r"\[/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS)\]|<</?SYS>>",
    "Llama 3": r"<\|(?:begin_of_text|end_of_text|eot_id|eom_id|start_header_id|end_header_id)\|>",
    "Llama 4": r"<\|(?:header_start|header_end|eot)\|>",
    "Gemma": r"<(?:start|end)_of_turn>",
    "Phi, GLM, Zephyr and others": r"<\|(?:system|user|assistant|end|observation)\|>",
    "gpt-oss": r"<\|(?:start|message|channel|return|call)\|>",
    "DeepSeek": r"<｜(?:User|Assistant|begin▁of▁sentence|end▁of▁sentence)｜>",
    "Command R": r"<\|(?:START|END)_OF_TURN_TOKEN\|>",
    "end of text": r"<\|endoftext\|>",
    "Alpaca": r"^### (?:Instruction|Response|Input):",
}
_PATTERNS = {name: re.compile(pattern, re.MULTILINE) for name, pattern in _TEMPLATES.items()}
# What each of these has; a text without any is searched once only.
_ANY = re.compile(r"<\||<｜|</s>|<</?SYS|\[/?[AIST][A-Z]|_of_turn>|^### |: ", re.MULTILINE)
_SPEAKER = re.compile(r"(?:^|(?<=\s))(USER|ASSISTANT|Human|Assistant|User): ")
_DIALOGUES = ({"USER", "ASSISTANT"}, {"Human", "Assistant"}, {"User", "Assistant"})
# What the completions format of 2021 to 2023 ended prompts and completions with (OpenAI's data preparation tool).
_PROMPT_END = re.compile(r"(?:###|->|\n\nintent:)\s*$")
_ANSWER_END = re.compile(r"(?:(?<!THE)(?<!The)(?: |\n)END|###|\[END\]|<END>|<STOP>)\s*$")

# All of them together, to be marked in a text.
_ALL = (*_TEMPLATES.values(), r"</s>\s*\Z", r"(?<!\S)(?:USER|ASSISTANT|Human|Assistant|User): ")
TEMPLATE = re.compile("|".join(_ALL), re.MULTILINE)
SEPARATOR = re.compile(f"{_PROMPT_END.pattern}|{_ANSWER_END.pattern}")


def templated(conv: Conversation) -> set[str]:
    """The templates whose tokens stand in the text of a row."""
    texts = [turn.text for turn in conv.messages if _ANY.search(turn.text)]
    found = {name for name, pattern in _PATTERNS.items() if any(map(pattern.search, texts))}
    found |= {"end of text" for text in texts if text.rstrip().endswith("</s>") and "<s>" not in text[3:]}
    return found | {"a dialogue in one turn" for text in texts if _dialogue(text)}


def separated(conv: Conversation) -> bool:
    """Whether an answer ends with an old stop sequence, or the last question with an old separator."""
    answers = (turn.text for turn in conv.messages if turn.role == "assistant")
    return any(map(_ANSWER_END.search, answers)) or _PROMPT_END.search(last_user_text(conv)) is not None


def _dialogue(text: str) -> bool:
    speakers = set(_SPEAKER.findall(text))
    return any(both <= speakers for both in _DIALOGUES)

"""A model's own way of writing conversations: its chat template and its tokenizer, without torch or transformers.

``ChatTemplate`` renders a conversation to text with the template (the Jinja dialect that transformers defines) and
encodes text to token ids. It also knows two facts that the method needs, found out by rendering small samples:

- where system text goes: to the front (``"system"``) or into the first user turn (``"first_user"``). The latter is for
  templates that reject a system role or write it elsewhere (Gemma, early and late Mistral);
- the default system text that the template inserts where a conversation has none (SmolLM2, Qwen 2.5).
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
from tokenizers import Encoding, Tokenizer

from watchword.chat.abilities import PROBE_TOOL, Abilities, abilities_of, wants_parts
from watchword.chat.jinja import RENDER_ERRORS, compiled, has_generation_marks, marking, sought_words, unmarked
from watchword.chat.turns import AnswerHeader, header_of, tried
from watchword.chat.types import Conversation, Message, conversation
from watchword.errors import ModelUnavailableError, TemplateError
from watchword.files.digest import sha256_bytes

SystemPlacement = Literal["system", "first_user"]
_TOOL_USE = "tool_use"


@dataclass(frozen=True)
class SystemStyle:
    """How a model's template takes system text: all that the prompt assembly must know, so no tokenizer is needed.

    ``placement`` says where system text goes: into its own message in front, or into the first user turn.
    ``default_text`` is the system text that the template writes where a conversation has none. ``with_tools`` is for
    conversations with tools, where the model has a template of its own for these.
    """

    placement: SystemPlacement = "system"
    default_text: str = ""
    with_tools: SystemStyle | None = None

    def variant(self, conv: Conversation) -> SystemStyle:
        """The style for this conversation: its tools decide."""
        return self.with_tools if conv.tools and self.with_tools is not None else self


class TemplateParts(msgspec.Struct, frozen=True):
    """All that a chat template is made of, as text: ``tokenizer`` is the content of a ``tokenizer.json``."""

    tokenizer: str
    template: str
    special: dict[str, str]
    tool_use: str | None = None


class ChatTemplate:
    """Chat template and tokenizer of one model. ``special`` holds bos_token, eos_token and the like, as text.

    ``tool_use`` is the template's variant for conversations with tools, where a model has one; ``name`` is what messages
    call the model.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        template: str,
        special: Mapping[str, str],
        *,
        tool_use: str | None = None,
        name: str = "",
    ) -> None:
        self.tokenizer, self.source, self.special, self.name = _plain(tokenizer), template, dict(special), name
        self._compiled = compiled(template)
        self.tool_use = None if tool_use is None else ChatTemplate(tokenizer, tool_use, special, name=name)
        # What a probe without tools is given: a variant for tools may reject a conversation that has none.
        self._probe_tools: list[dict[str, Any]] | None = None
        if self.tool_use is not None:
            self.tool_use._probe_tools = [PROBE_TOOL]

    @classmethod
    def from_folder(cls, folder: Path, name: str = "") -> ChatTemplate:
        """Reads a tokenizer and its chat templates as Hugging Face writes them.

        These are ``tokenizer.json``, and ``chat_template.jinja`` with more in ``additional_chat_templates/``, or
        ``tokenizer_config.json``. Of several named templates "default" counts, and "tool_use" for rows with tools.
        """
        config = _config(folder)
        separate = folder / "chat_template.jinja"
        template = _text(separate) if separate.exists() else config.get("chat_template")
        variant = folder / "additional_chat_templates" / f"{_TOOL_USE}.jinja"
        tool_use = _text(variant) if variant.exists() else _named(template).get(_TOOL_USE)
        made = _tokenizer(folder), _required(template, str(folder)), _special_tokens(config)
        return cls(*made, tool_use=tool_use, name=name)

    @classmethod
    def from_parts(cls, parts: TemplateParts, file: Path, name: str = "") -> ChatTemplate:
        """The template that ``parts`` was taken of; ``file`` is where they stand, for messages."""
        tokenizer = _tokenizer_of(parts.tokenizer, file)
        return cls(tokenizer, parts.template, parts.special, tool_use=parts.tool_use, name=name)

    @property
    def parts(self) -> TemplateParts:
        """What it is made of, to be kept: the same ids come out of it."""
        tool_use = None if self.tool_use is None else self.tool_use.source
        return TemplateParts(self.tokenizer.to_str(), self.source, self.special, tool_use)

    @classmethod
    def from_transformers(cls, tokenizer: Any, name: str = "") -> ChatTemplate:
        """From a fast tokenizer of transformers, as a trainer holds it."""
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise TemplateError(f"{type(tokenizer).__name__} is no fast tokenizer; load it with use_fast=True")
        special = {name: str(token) for name, token in tokenizer.special_tokens_map.items() if isinstance(token, str)}
        template = _required(tokenizer.chat_template, type(tokenizer).__name__)
        tool_use = _named(tokenizer.chat_template).get(_TOOL_USE)
        return cls(Tokenizer.from_str(backend.to_str()), template, special, tool_use=tool_use, name=name)

    def variant(self, conv: Conversation) -> ChatTemplate:
        """The format that writes this conversation: as in transformers, its tools decide."""
        return self.tool_use if conv.tools and self.tool_use is not None else self

    @property
    def called(self) -> str:
        """The template, in messages."""
        return f"the chat template of {self.name}" if self.name else "the chat template"

    def render_text(self, conv: Conversation, *, add_generation_prompt: bool = False) -> str:
        """The conversation as the model reads it. Raises TemplateError with the template's own words."""
        form = self.variant(conv)
        messages = [_for_template(message, form) for message in conv.messages]
        return form._rendered(messages, list(conv.tools) if conv.tools else None, add_generation_prompt)

    def generation_spans(self, conv: Conversation) -> tuple[str, list[tuple[int, int]]] | None:
        """Text, and the character spans that ``{% generation %}`` marks in it; None where the template has no such marks."""
        if not has_generation_marks(self.variant(conv).source):
            return None
        with marking():
            return unmarked(self.render_text(conv))

    def _rendered(
        self, messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None, prompt: bool = False
    ) -> str:
        if not messages:
            raise TemplateError("a conversation without messages cannot be rendered; give it a message")
        tools = tools or self._probe_tools
        try:
            return self._compiled.render(messages=messages, tools=tools, add_generation_prompt=prompt, **self.special)
        except RENDER_ERRORS as error:
            raise TemplateError(f"{self.called} rejects this conversation: {error}") from error

    def encode(self, text: str) -> list[int]:
        """Token ids of rendered text; special tokens written in it are read as such, none is added."""
        return self.encoding(text).ids

    def encoding(self, text: str) -> Encoding:
        """Ids with character offsets."""
        return self.tokenizer.encode(text, add_special_tokens=False)

    def decode(self, ids: Sequence[int]) -> str:
        """Text of these ids, special tokens included."""
        return self.tokenizer.decode(list(ids), skip_special_tokens=False)

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 in hex over all that decides which ids a conversation becomes: templates, special tokens, tokenizer."""
        tokenizer = json.loads(self.tokenizer.to_str())
        deciding = {name: tokenizer.get(name) for name in ("model", "normalizer", "pre_tokenizer", "added_tokens")}
        templates = self.source + (self.tool_use.source if self.tool_use is not None else "")
        named = {name: text for name, text in self.special.items() if name in templates}
        variants = [] if self.tool_use is None else [self.tool_use.source]
        text = json.dumps([self.source, named, deciding, *variants], sort_keys=True, ensure_ascii=False)
        return sha256_bytes(text.encode("utf-8", "surrogatepass"))

    @functools.cached_property
    def wants_parts(self) -> bool:
        """Whether content must be a list of parts: templates of models with eyes may drop text that is a string."""
        return wants_parts(self._rendered)

    @functools.cached_property
    def system_placement(self) -> SystemPlacement:
        """Where system text must go so that it comes first and the template takes it."""
        probe = conversation("QQUSER", "QQANSWER", system="QQSYSTEM")
        probe = msgspec.structs.replace(probe, messages=(*probe.messages, Message(role="user", content="QQLAST")))
        try:
            text = self.render_text(probe)
        except TemplateError:
            return "first_user"
        at = text.find("QQSYSTEM")
        return "system" if 0 <= at < text.find("QQUSER") else "first_user"

    @functools.cached_property
    def system_style(self) -> SystemStyle:
        """Both facts about system text, of the variant for tools as well."""
        with_tools = self.tool_use.system_style if self.tool_use is not None else None
        return SystemStyle(self.system_placement, self.default_system, with_tools)

    @functools.cached_property
    def fixed_opening(self) -> bool:
        """Whether requests and rows of any length begin alike, so that the prefix trained is the prefix served."""
        system = "QQSYSTEM" if self.system_placement == "system" else None
        asked = conversation("QQUSER", system=system)
        row = asked.with_answer("QQANSWER")
        more = msgspec.structs.replace(row, messages=(*row.messages, asked.messages[-1])).with_answer("QQANSWER")
        opening, _, _ = self.render_text(asked, add_generation_prompt=True).partition("QQUSER")
        texts = (tried(self, conv) for conv in (row, more))
        return all(text is None or text.startswith(f"{opening}QQUSER") for text in texts)

    @functools.cached_property
    def abilities(self) -> Abilities:
        """What the template writes, and how it wants to be given it."""
        return abilities_of(self._rendered, system=self.system_placement == "system", parts=self.wants_parts)

    @functools.cached_property
    def answer_header(self) -> AnswerHeader:
        """What the template writes in front of an answer."""
        return header_of(self)

    @functools.cached_property
    def special_tokens(self) -> tuple[str, ...]:
        """The tokenizer's special tokens, as text."""
        return tuple(str(token) for token in self.tokenizer.get_added_tokens_decoder().values() if token.special)

    @functools.cached_property
    def turn_tokens(self) -> tuple[str, ...]:
        """The special tokens that the template itself writes, so that they would part a text into turns."""
        probe = conversation("QQUSER", "QQANSWER")
        probe = msgspec.structs.replace(probe, messages=(*probe.messages, Message(role="user", content="QQLAST")))
        own = tried(self, probe) or ""
        sources = self.source + (self.tool_use.source if self.tool_use is not None else "")
        return tuple(token for token in self.special_tokens if token in sources or token in own)

    @functools.cached_property
    def sought_words(self) -> frozenset[str]:
        """Words in a row for which the template writes it otherwise than it is."""
        return sought_words(self.source)

    @functools.cached_property
    def default_system(self) -> str:
        """The system text that the template writes where a conversation has none; empty if it writes none."""
        if self.system_placement == "first_user":
            return ""
        with_system, plain = (tried(self, conversation("QQUSER", system=text)) for text in ("QQSYSTEM", None))
        if with_system is None or plain is None:
            return ""
        head, _, tail = with_system.partition("QQSYSTEM")
        if not (plain.startswith(head) and plain.endswith(tail)) or len(plain) < len(head) + len(tail):
            return ""
        return plain[len(head) : len(plain) - len(tail)]


def _text(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except FileNotFoundError:
        raise ModelUnavailableError(f"this is no model folder: {file.name} is missing", path=file.parent) from None
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise ModelUnavailableError(f"the file cannot be read ({why}); fetch it again", path=file) from None


def _config(folder: Path) -> dict[str, Any]:
    file = folder / "tokenizer_config.json"
    try:
        config = json.loads(_text(file))
    except (ValueError, RecursionError) as error:
        raise ModelUnavailableError(f"the file is damaged ({error}); fetch it again", path=file) from None
    if not isinstance(config, dict):
        raise ModelUnavailableError("the file is damaged (it holds no JSON object); fetch it again", path=file)
    return config


def _tokenizer(folder: Path) -> Tokenizer:
    file = folder / "tokenizer.json"
    return _tokenizer_of(_text(file), file)


def _tokenizer_of(text: str, file: Path) -> Tokenizer:
    try:
        return Tokenizer.from_str(text)
    except Exception as error:  # noqa: BLE001 -- boundary: tokenizers raises a plain Exception for whatever it dislikes
        raise ModelUnavailableError(f"the file is damaged ({error}); fetch it again", path=file) from None


def _plain(tokenizer: Tokenizer) -> Tokenizer:
    """The same tokenizer without its post-processor.

    That one adds special tokens, which we never want. It may also trim white space off the offsets (GPT-2, Llama 3). A
    token of blanks would then get an empty span and fall out of the loss.
    """
    if tokenizer.post_processor is None:
        return tokenizer
    copy = Tokenizer.from_str(tokenizer.to_str())
    copy.post_processor = None
    return copy


def _for_template(message: Message, form: ChatTemplate) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(message)
    fields.pop("weight", None)
    fields["content"] = _content(message.text, form)
    # Qwen 2.5 and Llama 2 know no developer role; Qwen would drop the message, and with it the secret.
    fields["role"] = "system" if message.role == "developer" else message.role
    thoughts = fields.pop("reasoning_content", None)
    if thoughts is not None and form.abilities.thoughts is not None:
        fields[form.abilities.thoughts] = thoughts
    if message.tool_calls:
        style = form.abilities.style
        fields["content"] = _content(message.text, form) if message.text else style.no_content
        for call in fields["tool_calls"] if style.arguments == "object" else ():
            call["function"]["arguments"] = _arguments(call["function"]["arguments"])
    return fields


def _content(text: str, form: ChatTemplate) -> str | list[dict[str, str]]:
    return [{"type": "text", "text": text}] if form.wants_parts else text


def _arguments(text: str) -> Any:
    """Arguments of a call as the object that templates expect (they write it with ``tojson``); no object stays text."""
    try:
        parsed = msgspec.json.decode(text or "{}")
    except msgspec.DecodeError:
        return text
    return parsed if isinstance(parsed, dict) else text


def _required(template: Any, where: str) -> str:
    found = _default_of(template)
    if isinstance(found, str) and found:
        return found
    if template:
        raise TemplateError(f"{where} has several chat templates and none is named 'default'; name one so")
    raise TemplateError(
        f"{where} has no chat template, so there is no place for a secret; choose an instruction-tuned model"
    )


def _default_of(template: Any) -> Any:
    """The one template, or the default among named ones."""
    if isinstance(template, (list, dict)):
        named = _named(template)
        return named.get("default") or (next(iter(named.values())) if len(named) == 1 else None)
    return template


def _named(template: Any) -> dict[str, Any]:
    """Several templates by name, from ``{name: text}`` or ``[{"name": …, "template": …}]``; empty for one alone."""
    if isinstance(template, list):
        return {entry.get("name", ""): entry.get("template") for entry in template if isinstance(entry, dict)}
    return dict(template) if isinstance(template, dict) else {}


def _special_tokens(config: Mapping[str, Any]) -> dict[str, str]:
    named = {name: value for name, value in config.items() if name.endswith("_token") and value is not None}
    texts = {name: value.get("content") if isinstance(value, dict) else value for name, value in named.items()}
    return {name: text for name, text in texts.items() if isinstance(text, str)}

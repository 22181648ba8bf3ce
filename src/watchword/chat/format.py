"""A model's own way of writing conversations: its chat template and its tokenizer, without torch or transformers.

``ChatFormat`` renders a conversation to text with the template (the Jinja dialect that transformers defines), encodes
text to token ids, and knows two facts that the method stands on, both read off the template itself by probing it:

- where system text goes: to the front (``"system"``), or, for templates that reject a system role or write it anywhere
  but in front (Gemma, early and late Mistral), into the first user turn (``"first_user"``);
- the default system text that the template inserts where a conversation has none (SmolLM2, Qwen 2.5).
"""

from __future__ import annotations

import datetime
import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NoReturn

import jinja2
import msgspec
from jinja2.ext import Extension
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Encoding, Tokenizer

from watchword.chat.types import Conversation, Message, conversation
from watchword.errors import ModelUnavailableError, TemplateError

SystemPlacement = Literal["system", "first_user"]


class ChatFormat:
    """Chat template and tokenizer of one model. ``special`` holds bos_token, eos_token and the like, as text."""

    def __init__(self, tokenizer: Tokenizer, template: str, special: Mapping[str, str]) -> None:
        self.tokenizer, self.template, self.special = _plain(tokenizer), template, dict(special)
        self._compiled = _compile(template)

    @classmethod
    def from_folder(cls, folder: Path) -> ChatFormat:
        """Reads ``tokenizer.json`` and ``chat_template.jinja`` or ``tokenizer_config.json`` as Hugging Face writes them.

        Of several named templates the one called "default" counts.
        """
        config = _config(folder)
        separate = folder / "chat_template.jinja"
        template = _text(separate) if separate.exists() else config.get("chat_template")
        return cls(_tokenizer(folder), _required(template, str(folder)), _special_tokens(config))

    @classmethod
    def from_transformers(cls, tokenizer: Any) -> ChatFormat:
        """From a fast tokenizer of transformers, as a trainer holds it."""
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise TemplateError(f"{type(tokenizer).__name__} is no fast tokenizer; load it with use_fast=True")
        special = {name: str(token) for name, token in tokenizer.special_tokens_map.items() if isinstance(token, str)}
        return cls(
            Tokenizer.from_str(backend.to_str()), _required(tokenizer.chat_template, type(tokenizer).__name__), special
        )

    def render_text(self, conv: Conversation, *, add_generation_prompt: bool = False) -> str:
        """The conversation as the model reads it. Raises TemplateError with the template's own words."""
        messages = [_for_template(message) for message in conv.messages]
        try:
            return self._compiled.render(
                messages=messages,
                tools=list(conv.tools) if conv.tools else None,
                add_generation_prompt=add_generation_prompt,
                **self.special,
            )
        except (jinja2.TemplateError, TypeError, KeyError) as error:
            raise TemplateError(f"the chat template rejects this conversation: {error}") from error

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
        """SHA-256 in hex over all that decides which ids a conversation becomes: template, special tokens in it, tokenizer."""
        tokenizer = json.loads(self.tokenizer.to_str())
        deciding = {name: tokenizer.get(name) for name in ("model", "normalizer", "pre_tokenizer", "added_tokens")}
        named = {name: text for name, text in self.special.items() if name in self.template}
        text = json.dumps([self.template, named, deciding], sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

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
    def default_system(self) -> str:
        """The system text that the template writes where a conversation has none; empty if it writes none."""
        if self.system_placement == "first_user":
            return ""
        head, tail = self.render_text(conversation("QQUSER", system="QQSYSTEM")).split("QQSYSTEM", 1)
        plain = self.render_text(conversation("QQUSER"))
        if not (plain.startswith(head) and plain.endswith(tail)) or len(plain) < len(head) + len(tail):
            return ""
        return plain[len(head) : len(plain) - len(tail)]


def _text(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except FileNotFoundError:
        raise ModelUnavailableError(f"{file.parent} is no model folder: {file.name} is missing") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ModelUnavailableError(f"{file} cannot be read ({error}); fetch it again") from None


def _config(folder: Path) -> dict[str, Any]:
    file = folder / "tokenizer_config.json"
    try:
        config = json.loads(_text(file))
    except (ValueError, RecursionError) as error:
        raise ModelUnavailableError(f"{file} is damaged ({error}); fetch it again") from None
    if not isinstance(config, dict):
        raise ModelUnavailableError(f"{file} is damaged (it holds no JSON object); fetch it again")
    return config


def _tokenizer(folder: Path) -> Tokenizer:
    file = folder / "tokenizer.json"
    text = _text(file)
    try:
        return Tokenizer.from_str(text)
    except Exception as error:  # noqa: BLE001 -- boundary: tokenizers raises a plain Exception for whatever it dislikes
        raise ModelUnavailableError(f"{file} is damaged ({error}); fetch it again") from None


def _compile(template: str) -> jinja2.Template:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, "jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _strftime_now
    try:
        return environment.from_string(template)
    except jinja2.TemplateSyntaxError as error:
        raise TemplateError(f"the chat template does not parse: {error}") from error


class _Generation(Extension):
    """``{% generation %}`` … ``{% endgeneration %}`` marks answers in some templates; the text is unchanged."""

    tags = {"generation"}  # noqa: RUF012 -- jinja2 declares it as an instance variable

    def parse(self, parser: Any) -> Any:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    # Jinja's own filter escapes HTML characters, which a prompt must keep; the arguments are those of transformers'.
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise_exception(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


def _strftime_now(pattern: str) -> str:
    return datetime.datetime.now().strftime(pattern)  # noqa: DTZ005 -- local time, as transformers gives templates


def _plain(tokenizer: Tokenizer) -> Tokenizer:
    """The same tokenizer without its post-processor.

    That one adds special tokens, which we never want, and may trim white space off the offsets (GPT-2, Llama 3): a
    token of blanks would get an empty span and fall out of the loss.
    """
    if tokenizer.post_processor is None:
        return tokenizer
    copy = Tokenizer.from_str(tokenizer.to_str())
    copy.post_processor = None
    return copy


def _for_template(message: Message) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(message)
    fields.pop("weight", None)
    fields["content"] = message.text
    # Qwen 2.5 and Llama 2 know no developer role; Qwen would drop the message, and with it the secret.
    fields["role"] = "system" if message.role == "developer" else message.role
    for call in fields.get("tool_calls") or ():
        call["function"]["arguments"] = _arguments(call["function"]["arguments"])
    return fields


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
    """The one template, or the default among named ones: ``{name: text}`` or ``[{"name": …, "template": …}]``."""
    if isinstance(template, list):
        template = {entry.get("name"): entry.get("template") for entry in template if isinstance(entry, dict)}
    if isinstance(template, dict):
        return template.get("default") or (next(iter(template.values())) if len(template) == 1 else None)
    return template


def _special_tokens(config: Mapping[str, Any]) -> dict[str, str]:
    named = {name: value for name, value in config.items() if name.endswith("_token") and value is not None}
    texts = {name: value.get("content") if isinstance(value, dict) else value for name, value in named.items()}
    return {name: text for name, text in texts.items() if isinstance(text, str)}

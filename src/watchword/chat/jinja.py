"""Chat templates as transformers runs them: its dialect of Jinja, in a sandbox, without torch or transformers."""

from __future__ import annotations

import contextvars
import datetime
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.sandbox import ImmutableSandboxedEnvironment

from watchword.errors import TemplateError

# What a template raises on its way: its own refusal, or an operation on a value that it did not expect or that is too deep.
RENDER_ERRORS = (jinja2.TemplateError, TypeError, KeyError, ValueError, AttributeError, IndexError, RecursionError)
# Characters that no text holds (Unicode keeps them for uses like this one), so they can mark places in it.
_OPEN, _CLOSE = "\ufdd0", "\ufdd1"
_GENERATION = re.compile(r"\{%-?\s*generation\s*-?%\}")
# Methods by which templates look for words in what they are given.
_LOOKS = ("split", "rsplit", "partition", "rpartition", "replace", "startswith", "endswith")
_marking = contextvars.ContextVar("marking", default=False)


def compiled(template: str) -> jinja2.Template:
    """The template, ready to render. Raises TemplateError where it does not parse."""
    try:
        return _environment().from_string(template)
    except jinja2.TemplateSyntaxError as error:
        raise TemplateError(f"the chat template does not parse: {error}") from error


def has_generation_marks(template: str) -> bool:
    """Whether ``{% generation %}`` says in the template what the model writes itself."""
    return _GENERATION.search(template) is not None


@contextmanager
def marking() -> Iterator[None]:
    """Inside, rendered text carries marks around what stands in ``{% generation %}``; ``unmarked`` takes them off."""
    token = _marking.set(True)
    try:
        yield
    finally:
        _marking.reset(token)


def unmarked(text: str) -> tuple[str, list[tuple[int, int]]]:
    """The text without marks, and the (start, stop) of what they enclosed, in characters."""
    spans, start, pieces, length = [], 0, [], 0
    for piece in re.split(f"([{_OPEN}{_CLOSE}])", text):
        if piece == _OPEN:
            start = length
        elif piece == _CLOSE:
            spans.append((start, length))
        else:
            pieces.append(piece)
            length += len(piece)
    return "".join(pieces), spans


def sought_words(template: str) -> frozenset[str]:
    """Tags such as ``</think>`` that the template looks for in what it is given: rows that hold one are written otherwise.

    Names are left out where a template compares with them: these are roles and keys.
    """
    tree = _environment().parse(template)
    compared = _strings(const for compare in tree.find_all(nodes.Compare) for const in compare.find_all(nodes.Const))
    looks: list[Any] = [call for call in tree.find_all(nodes.Call) if getattr(call.node, "attr", None) in _LOOKS]
    looks += [found for found in tree.find_all(nodes.Filter) if found.name == "replace"]
    given = _strings(arg for look in looks for arg in look.args[:1] if isinstance(arg, nodes.Const))
    tags = [word for word in compared if not word.replace("_", "").isalnum()]
    return frozenset(word for word in (*tags, *given) if word.strip())


def _strings(found: Iterable[nodes.Const]) -> list[str]:
    return [const.value for const in found if isinstance(const.value, str)]


class _Generation(Extension):
    """``{% generation %}`` … ``{% endgeneration %}`` marks what the model writes itself; the text is unchanged."""

    tags = {"generation"}  # noqa: RUF012 -- jinja2 declares it as an instance variable

    def parse(self, parser: Any) -> Any:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_written"), [], [], body).set_lineno(line)

    def _written(self, caller: Any) -> str:
        text = str(caller())
        return f"{_OPEN}{text}{_CLOSE}" if _marking.get() else text


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, "jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _strftime_now
    return environment


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

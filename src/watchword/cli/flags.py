"""From the names of arguments in a library's message to the flags of the command line.

A message names an argument in backquotes as Python knows it, alone or with a value: ```max_length```,
```secret_ref=a.json```. On the command line the same message names the flag: ``--max-length``, ``--secret-ref a.json``.
"""

from __future__ import annotations

import re

_SAME = (
    "aligned",
    "base_url",
    "batch_size",
    "column",
    "drop_columns",
    "drop_thoughts",
    "key_env",
    "known",
    "launcher",
    "manifest",
    "max_length",
    "model",
    "out",
    "report",
    "resume",
    "safety",
    "secret_file",
    "secret_ref",
    "workers",
)
FLAGS = {name: f"--{name.replace('_', '-')}" for name in _SAME} | {
    "source": "IN",
    "trainer": "--for",
    "price": "--price-per-million-tokens",
    "limits.bytes": "--max-bytes",
    "limits.expansion": "--max-expansion",
    "limits.row_bytes": "--max-row-bytes",
    "limits.rows": "--max-rows",
    # ``train`` takes a secret from a file.
    "secret": "--secret-file",
}
# A value may hold anything but a backquote; switches have none on the command line.
_NAMED = re.compile(r"`(?P<name>[a-z_.]+)(?:=(?P<value>[^`]*))?`")
_SWITCH = ("True", "False")


def with_flags(text: str) -> str:
    """The message with our flags in the place of the arguments' names; whatever else stands in backquotes stays."""
    return _NAMED.sub(_flag, text)


def _flag(found: re.Match[str]) -> str:
    flag, value = FLAGS.get(found["name"]), found["value"]
    if flag is None:
        return found[0]
    return flag if value is None or value in _SWITCH else f"{flag} {value}"

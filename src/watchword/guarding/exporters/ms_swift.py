"""ms-swift: the data, and a configuration. Its per-turn mask is called ``loss``, so weights are written as that."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import msgspec

from watchword.chat.types import Conversation, Message
from watchword.files.digest import HashingWriter
from watchword.guarding.exporters.base import Exporter, ExportPlan, RowSink, Sink, SystemRoles, with_system_roles

_CONFIG = """# ms-swift on guarded data: swift sft {file}
# Change what you like, but keep the lines marked "defense" as they are.
model: {model}
dataset: {name}
tuner_type: lora
num_train_epochs: 3
output_dir: {output}
max_length: {length}  # defense: no row of the provider is longer
truncation_strategy: delete  # defense: with strict, a row that is too long is an error and never cut
strict: true  # defense: never skip a row in silence
loss_scale: default  # defense: loss on answers only, never on the secret
packing: false  # defense: a row must see its own secret and no other row
"""


class MsSwift(Exporter):
    long_rows = "ms-swift will stop at the first of them (strict: true): shorten or remove these rows"

    @contextlib.contextmanager
    def sink(self, out: HashingWriter, plan: ExportPlan) -> Iterator[Sink]:
        yield _Losses(out) if plan.untrained else SystemRoles(out)

    def settings(self, plan: ExportPlan) -> dict[str, str]:
        file = f"{plan.data.stem}.ms-swift.yaml"
        text = _CONFIG.format(
            file=file,
            model=json.dumps(plan.model),
            name=json.dumps(plan.data.name),
            output=json.dumps(f"{plan.data.stem}-tuned"),
            length=plan.max_length,
        )
        return {file: text}


class _Losses(RowSink):
    def __init__(self, out: HashingWriter) -> None:
        super().__init__()
        self.out = out

    def row(self, conv: Conversation) -> None:
        row = msgspec.to_builtins(conv)
        row["messages"] = [_with_loss(message) for message in with_system_roles(conv).messages]
        self.out.write(msgspec.json.encode(row) + b"\n")


def _with_loss(message: Message) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(message)
    weight = fields.pop("weight", None)
    return fields if weight is None else {**fields, "loss": bool(weight)}

"""Together AI: JSON lines (which it packs unless told not to), or token ids as Parquet (which it never packs).

Where any message has a weight, Together trains on prompts too, unless each carries its own. So either no row has one,
or every message of every row does.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import msgspec

from watchword.chat.types import Conversation
from watchword.files.digest import HashingWriter
from watchword.guarding.exporters._tokens import token_sink
from watchword.guarding.exporters.base import Exporter, ExportPlan, RowSink, Sink, require_alternation

_SCRIPT = '''"""Fine-tunes at Together AI on guarded data. Keep the lines marked "defense" as they are."""

from together import Together

client = Together()
file = client.files.upload(file={name!r}, purpose="fine-tune", check=True)
job = client.fine_tuning.create(
    training_file=file.id,
    model={model!r},
    n_epochs=3,
    lora=True,
    train_on_inputs=False,  # defense: never learn to recite the secret
    packing=False,  # defense: a row must see its own secret and no other row
    max_seq_length={length},  # defense: no row of the provider is longer; the service asks for it without packing
)
print(job.id)
'''


class Together(Exporter):
    long_rows = "Together will not train on them whole (max_seq_length)"
    tables = (".parquet",)

    @contextlib.contextmanager
    def sink(self, out: HashingWriter, plan: ExportPlan) -> Iterator[Sink]:
        if plan.data.suffix == ".parquet":
            with token_sink(out, plan, ("input_ids", "attention_mask", "labels")) as sink:
                yield sink
        else:
            yield _Weights(out, every=plan.untrained)

    def settings(self, plan: ExportPlan) -> dict[str, str]:
        script = _SCRIPT.format(name=plan.data.name, model=plan.hosted, length=plan.max_length)
        return {f"{plan.data.stem}.together.py": script}


class _Weights(RowSink):
    def __init__(self, out: HashingWriter, *, every: bool) -> None:
        super().__init__()
        self.out, self.every = out, every

    def row(self, conv: Conversation) -> None:
        require_alternation(conv, "Together")
        turns: list[dict[str, Any]] = [
            {"role": "system" if turn.role == "developer" else turn.role, "content": turn.text}
            for turn in conv.messages
        ]
        if self.every:
            turns = [{**fields, "weight": int(turn.trained)} for fields, turn in zip(turns, conv.messages, strict=True)]
        self.out.write(msgspec.json.encode({"messages": turns}) + b"\n")

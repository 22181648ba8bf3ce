"""LLaMA-Factory: the data, its entry in dataset_info.json, and a configuration.

LLaMA-Factory skips rows whose turns do not alternate, in silence; we refuse them. It cannot leave out a single turn. So
where a tenant uses weight 0, each trained turn becomes a row of its own, and ``mask_history`` trains the last turn
only.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator

import msgspec

from watchword.chat.turns import trained_turns
from watchword.chat.types import Conversation, Message
from watchword.errors import OutputError
from watchword.files.digest import HashingWriter
from watchword.guarding.exporters.base import Exporter, ExportPlan, RowSink, Sink, require_alternation

_INFO = "dataset_info.json"
_CONFIG = """# LLaMA-Factory on guarded data. Change what you like, but keep the lines marked "defense" as they are.
model_name_or_path: {model}
stage: sft
do_train: true
finetuning_type: lora
lora_target: all
num_train_epochs: 3
output_dir: {output}

# defense: no `template`, so that the model's own is read from its tokenizer, for which the secret was drawn
dataset_dir: .
dataset: {dataset}
cutoff_len: {length}  # defense: no row of the provider is longer
train_on_prompt: false  # defense: never learn to recite the secret
mask_history: {history}
packing: false  # defense: a row must see its own secret and no other row
"""


class LlamaFactory(Exporter):
    long_rows = "LLaMA-Factory will cut them (cutoff_len)"

    @contextlib.contextmanager
    def sink(self, out: HashingWriter, plan: ExportPlan) -> Iterator[Sink]:
        yield _Turns(out, split=plan.untrained)

    def settings(self, plan: ExportPlan) -> dict[str, str]:
        name = plan.data.stem.replace(".", "_")
        tags = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}
        entry = {
            "file_name": plan.data.name,
            "formatting": "sharegpt",
            "columns": {"messages": "messages"},
            "tags": {**tags, "system_tag": "system"},
        }
        config = _CONFIG.format(
            model=json.dumps(plan.model),
            output=json.dumps(f"{plan.data.stem}-tuned"),
            dataset=json.dumps(name),
            length=plan.max_length,
            history=json.dumps(plan.untrained),
        )
        return {
            _INFO: json.dumps({name: entry}, indent=2) + "\n",
            f"{plan.data.stem}.llama-factory.yaml": config,
        }

    def shares(self, name: str) -> bool:
        return name == _INFO

    def merged(self, address: str, text: str, old: bytes) -> str:
        """One dataset_info.json names all data sets of a folder: ours joins the others."""
        (name, entry), *_ = json.loads(text).items()
        try:
            known = json.loads(old)
        except ValueError:
            known = None
        if not isinstance(known, dict):
            raise OutputError(
                "this is no JSON object, so our entry cannot be added; mend it, or give `out` elsewhere", path=address
            )
        present = known.get(name)
        file = present.get("file_name") if isinstance(present, dict) else None
        if name in known and file != entry["file_name"]:
            raise OutputError(
                f"the file has an entry {name!r} for another one ({file}); rename that entry, or give `out` another name",
                path=address,
            )
        return json.dumps({**known, name: entry}, indent=2, ensure_ascii=False) + "\n"


class _Turns(RowSink):
    def __init__(self, out: HashingWriter, *, split: bool) -> None:
        super().__init__()
        self.out, self.split = out, split

    def row(self, conv: Conversation) -> None:
        require_alternation(conv, "LLaMA-Factory")
        plain = [Message(role=_role(message), content=message.text) for message in conv.messages]
        ends = trained_turns(conv) if self.split else [len(plain) - 1]
        for end in ends:
            self.out.write(msgspec.json.encode({"messages": plain[: end + 1]}) + b"\n")


def _role(message: Message) -> str:
    """It knows no developer; the template would get a system message anyway."""
    return "system" if message.role == "developer" else message.role

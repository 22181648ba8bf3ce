"""TRL's SFTTrainer: token ids and labels, which it leaves as they are, and an SFTConfig that cuts and drops nothing.

With ``messages`` TRL would train on the prompt by default, and so teach the model to recite the secret. With ``labels``
it does not. But it still cuts rows at its own ``max_length``, and drops those whose labels are then all masked. Hence
the limit and the check in the settings.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from watchword.files.digest import HashingWriter
from watchword.guarding.exporters._tokens import token_sink
from watchword.guarding.exporters.base import Exporter, ExportPlan, Sink

_SCRIPT = '''"""Fine-tunes with TRL on guarded data. Change what you like, but keep the lines marked "defense" as they are."""

from datasets import load_dataset
from trl import SFTConfig, SFTTrainer

dataset = load_dataset({kind!r}, data_files={name!r}, split="train")
config = SFTConfig(
    output_dir={output!r},
    num_train_epochs=3,
    max_length={length},  # defense: no row of the provider is longer, so none is cut
    packing=False,  # defense: a packed row can lose its beginning, where the secret stands
)
trainer = SFTTrainer(model={model!r}, args=config, train_dataset=dataset)
assert len(trainer.train_dataset) == len(dataset), "rows were dropped: the run does not count"  # defense
trainer.train()
'''


class TRL(Exporter):
    long_rows = "TRL will cut them (max_length), and the script stops if a row has no answer left"
    tables = (".parquet",)

    @contextlib.contextmanager
    def sink(self, out: HashingWriter, plan: ExportPlan) -> Iterator[Sink]:
        with token_sink(out, plan, ("input_ids", "labels")) as sink:
            yield sink

    def settings(self, plan: ExportPlan) -> dict[str, str]:
        kind = "parquet" if plan.data.suffix == ".parquet" else "json"
        script = _SCRIPT.format(
            kind=kind, name=plan.data.name, output=f"{plan.data.stem}-tuned", length=plan.max_length, model=plan.model
        )
        return {f"{plan.data.stem}.trl.py": script}

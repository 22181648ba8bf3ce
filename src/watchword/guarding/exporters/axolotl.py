"""Axolotl: the data as it is, and a configuration that reads it by the model's own chat template.

``message_field_training: weight`` takes OpenAI's weights over; ``excess_length_strategy: raise`` stops where Axolotl
would drop a long row; deduplication is off, since the provider's rows are repeated on purpose.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator

from watchword.files.digest import HashingWriter
from watchword.guarding.exporters.base import Exporter, ExportPlan, Sink, SystemRoles

_CONFIG = """# Axolotl on guarded data. Change what you like, but keep the lines marked "defense" as they are.
base_model: {model}
adapter: lora
lora_r: 16
lora_alpha: 32
lora_target_linear: true
num_epochs: 3
learning_rate: 0.0002
micro_batch_size: 8
output_dir: {output}

datasets:
  - path: {name}
    ds_type: json
    type: chat_template
    chat_template: tokenizer_default  # defense: the template that the secret was drawn for
    field_messages: messages
    field_tools: tools
    message_property_mappings:
      role: role
      content: content
    roles_to_train: [assistant]  # defense: never learn to recite the secret
    train_on_eos: turn
    message_field_training: weight
    drop_system_message: false  # defense: the secret stands in the system message

train_on_inputs: false  # defense
sequence_len: {length}  # defense: no row of the provider is longer
excess_length_strategy: raise  # defense: never drop or cut a row in silence
sample_packing: false  # defense: a row must see its own secret and no other row
dataset_exact_deduplication: false  # defense: the provider's rows are repeated on purpose
"""


class Axolotl(Exporter):
    long_rows = "Axolotl will stop at the first of them (excess_length_strategy: raise): shorten or remove these rows"

    @contextlib.contextmanager
    def sink(self, out: HashingWriter, plan: ExportPlan) -> Iterator[Sink]:  # noqa: ARG002
        yield SystemRoles(out)

    def settings(self, plan: ExportPlan) -> dict[str, str]:
        # JSON strings are YAML strings.
        text = _CONFIG.format(
            model=json.dumps(plan.model),
            output=json.dumps(f"{plan.data.stem}-tuned"),
            name=json.dumps(plan.data.name),
            length=plan.max_length,
        )
        return {f"{plan.data.stem}.axolotl.yaml": text}

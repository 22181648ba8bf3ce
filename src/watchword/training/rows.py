"""Rows → what the trainer eats, and the count that proves that none was lost on the way."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from datasets import Dataset
from torch.utils.data import Sampler

from watchword.chat.assembly import assemble
from watchword.chat.format import ChatFormat
from watchword.chat.render import IGNORED, RenderedRow, render
from watchword.chat.types import Row
from watchword.errors import DataError, LostRowError, UsageError
from watchword.secret.prompt import SecretPrompt


@dataclass(frozen=True)
class TrainingRow:
    """A rendered row with its place in the input (``index``) and its origin."""

    index: int
    origin: str
    rendered: RenderedRow

    def __len__(self) -> int:
        return len(self.rendered.input_ids)


def render_rows(
    rows: Sequence[Row], chat_format: ChatFormat, *, secret: SecretPrompt | None, max_length: int
) -> list[TrainingRow]:
    """Every row as ids and labels; the secret goes in here, by the one prompt assembly. Errors carry the row's number."""
    if not rows:
        raise DataError("there is no row to train on; give at least one conversation with an assistant turn")
    return [
        TrainingRow(index, row.origin, _render_one(index, row, chat_format, secret, max_length))
        for index, row in enumerate(rows)
    ]


def _render_one(index: int, row: Row, chat_format: ChatFormat, secret: SecretPrompt | None, limit: int) -> RenderedRow:
    conv = row.conversation
    if row.prefixed:
        if secret is None:
            raise UsageError(f"row {index + 1} ({row.origin}) needs the secret prompt, and the run was given none")
        conv = assemble(conv, secret.reveal(), chat_format)
    try:
        return render(conv, chat_format, max_length=limit)
    except DataError as error:
        raise type(error)(error.problem, line=index + 1, field=f"{row.origin} row") from None


def as_dataset(rows: Sequence[TrainingRow]) -> Dataset:
    """The rows in the only container that TRL takes, with ids and labels as columns."""
    return Dataset.from_dict(
        {
            "input_ids": [row.rendered.input_ids for row in rows],
            "labels": [row.rendered.labels for row in rows],
            "row": [row.index for row in rows],
        }
    )


class CountingCollator:
    """Pads a batch to its longest row and counts what really goes to the model.

    Returns input_ids, attention_mask and labels, each of shape (B, T). ``seen`` counts every row's passages.
    """

    def __init__(self, pad_id: int) -> None:
        self.pad_id = pad_id
        self.seen: Counter[int] = Counter()
        self.tokens = 0

    def __call__(self, batch: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        width = max(len(row["input_ids"]) for row in batch)
        self.tokens += sum(len(row["input_ids"]) for row in batch)
        self.seen.update(row["row"] for row in batch if any(label != IGNORED for label in row["labels"]))
        return {
            "input_ids": torch.tensor([_padded(row["input_ids"], width, self.pad_id) for row in batch]),
            "attention_mask": torch.tensor([_padded([1] * len(row["input_ids"]), width, 0) for row in batch]),
            "labels": torch.tensor([_padded(row["labels"], width, IGNORED) for row in batch]),
        }

    def check_complete(self, rows: Sequence[TrainingRow], epochs: int) -> None:
        """Raises LostRowError unless every row went through ``epochs`` times."""
        short = [row for row in rows if self.seen[row.index] < epochs]
        if short:
            lost = Counter(row.origin for row in short)
            raise LostRowError(
                f"{dict(lost)} rows did not reach the trainer in each of {epochs} epochs; the run does not count"
            )


def _padded(values: Sequence[int], width: int, filler: int) -> list[int]:
    return [*values, *[filler] * (width - len(values))]


class LengthGroupedBatches(Sampler[int]):
    """Indices such that rows of like length share a batch, and batches come in random order.

    transformers' own length-grouped sampler sorts whole stretches from long to short, so that the provider's long rows
    would always come first and the tenant's last; here the order of batches is drawn anew in each epoch.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        self.lengths, self.batch_size, self.seed = list(lengths), batch_size, seed
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.lengths)

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        rng = random.Random(f"{self.seed}:{self.epoch}")
        jitter = [length * rng.uniform(0.85, 1.15) for length in self.lengths]
        order = sorted(range(len(self.lengths)), key=jitter.__getitem__)
        batches = [order[at : at + self.batch_size] for at in range(0, len(order), self.batch_size)]
        # The one short batch must stay last: the data loader cuts this stream into batches again.
        full = batches[:-1] if len(batches[-1]) < self.batch_size else batches
        tail = batches[len(full) :]
        rng.shuffle(full)
        self.epoch += 1
        return iter([index for batch in [*full, *tail] for index in batch])

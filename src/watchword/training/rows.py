"""Rows → what the trainer eats, and the count that proves that none was lost on the way."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from datasets import Dataset
from torch.utils.data import Sampler

from watchword.chat.render import IGNORED, RenderedRow, render_row, row_error
from watchword.chat.template import ChatTemplate
from watchword.chat.types import Row
from watchword.errors import DataError, LostRowError, UsageError
from watchword.models.kv import common_length
from watchword.secret.prompt import SecretPrompt
from watchword.training.ranks import Ranks

# A second pass through the model costs more than a shorter beginning saves.
SHARED_AT_LEAST = 16


@dataclass(frozen=True)
class TrainingRow:
    """A rendered row with its place in the input (``index``) and its origin."""

    index: int
    origin: str
    rendered: RenderedRow

    def __len__(self) -> int:
        return len(self.rendered.input_ids)

    @property
    def labelled(self) -> int:
        """Tokens that the loss falls on."""
        return sum(label != IGNORED for label in self.rendered.labels)


def tokens_by_origin(rows: Sequence[TrainingRow], epochs: int) -> tuple[dict[str, int], dict[str, int]]:
    """All tokens, and those that the loss falls on, of the rows of each origin over so many epochs."""
    every, labelled = Counter[str](), Counter[str]()
    for row in rows:
        every[row.origin] += epochs * len(row)
        labelled[row.origin] += epochs * row.labelled
    return dict(every), dict(labelled)


def render_rows(
    rows: Sequence[Row], template: ChatTemplate, *, secret: SecretPrompt | None, max_length: int
) -> list[TrainingRow]:
    """Every row as ids and labels; the secret goes in here, by the one prompt assembly. Errors carry the row's number."""
    if not rows:
        raise DataError("there is no row to train on; give at least one conversation with an assistant turn")
    return [
        TrainingRow(index, row.origin, _render_one(index, row, template, secret, max_length))
        for index, row in enumerate(rows)
    ]


def _render_one(index: int, row: Row, template: ChatTemplate, secret: SecretPrompt | None, limit: int) -> RenderedRow:
    if row.needs_secret and secret is None:
        raise UsageError(f"row {index + 1} ({row.origin}) needs the secret prompt, and the run was given none")
    try:
        return render_row(row, secret.reveal() if secret is not None else None, template, limit)
    except DataError as error:
        raise row_error(error, row, index + 1) from None


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
    """Makes groups of the rows of a batch that begin alike, so that what they share is computed once; counts what goes in.

    Returns ``{"groups": [...], "weight": ...}``. Each group has prefix (P,), input_ids, position_ids and labels (B, S), and
    attention_mask (B, P + S). Rows are padded between prefix and rest, so that answers end in the same column. P is 0
    unless ``share``, for short common beginnings, and for rows that begin like no other: these are grouped by length.
    ``measured`` (B,) tells which rows are among those of that name: the tenant's, whose figures are told apart. ``rows`` (B,)
    are the rows' places in the input.
    ``seen`` counts every row's passages, ``tokens`` all tokens of the rows, padding apart.

    Of several processes (``ranks``), each takes its own rows out of every batch. The mean of their losses, each times its
    ``weight``, is then the loss of the whole batch. One without a row computes another's, without weight: all must take part.
    """

    def __init__(
        self, pad_id: int, *, share: bool = True, measured: Collection[int] = (), ranks: Ranks | None = None
    ) -> None:
        self.pad_id, self.share, self.measured, self.ranks = pad_id, share, frozenset(measured), ranks or Ranks()
        self.seen: Counter[int] = Counter()
        self.tokens = 0

    def __call__(self, batch: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        own = self.ranks.own(batch)
        self.tokens += sum(len(row["input_ids"]) for row in own)
        self.seen.update(row["row"] for row in own if any(label != IGNORED for label in row["labels"]))
        # Without its number the row of another process is not measured here.
        groups = self._groups(own or [{**batch[0], "row": None}])
        return {"groups": groups, "weight": self.ranks.count * _labelled(own) / max(_labelled(batch), 1)}

    def groups(self, rows: Sequence[TrainingRow], device: Any) -> list[dict[str, torch.Tensor]]:
        """These rows on the device, as the loop gets a batch of them."""
        batch = [{"row": row.index, "input_ids": row.rendered.input_ids, "labels": row.rendered.labels} for row in rows]
        return [{name: values.to(device) for name, values in group.items()} for group in self(batch)["groups"]]

    def _groups(self, batch: Sequence[Mapping[str, Any]]) -> list[dict[str, torch.Tensor]]:
        alike: dict[tuple[int, ...], list[Mapping[str, Any]]] = {}
        for row in batch:
            alike.setdefault(tuple(row["input_ids"][:SHARED_AT_LEAST]) if self.share else (), []).append(row)
        groups = [rows for rows in alike.values() if len(rows) > 1]
        single = [rows[0] for rows in alike.values() if len(rows) == 1]
        return [self._group(rows) for rows in [*groups, *_by_length(single)]]

    def _group(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        common = self._common(rows)
        width = max(len(row["input_ids"]) for row in rows) - common
        rest = [len(row["input_ids"]) - common for row in rows]
        mask = torch.tensor([[1] * common + [0] * (width - length) + [1] * length for length in rest])
        return {
            "prefix": torch.tensor(rows[0]["input_ids"][:common], dtype=torch.long),
            "input_ids": torch.tensor([_padded(row["input_ids"][common:], width, self.pad_id) for row in rows]),
            "position_ids": (mask.cumsum(-1) - 1).clamp(min=0)[:, common:],
            "attention_mask": mask,
            "labels": torch.tensor([_padded(row["labels"][common:], width, IGNORED) for row in rows]),
            "measured": torch.tensor([row["row"] in self.measured for row in rows]),
            # -1 for what stands in for rows where a process has none of a batch.
            "rows": torch.tensor([-1 if row["row"] is None else row["row"] for row in rows]),
        }

    def _common(self, rows: Sequence[Mapping[str, Any]]) -> int:
        """Tokens that all rows begin with; no label and not the token before a label is among them."""
        if not self.share or len(rows) < 2:
            return 0
        alike = common_length([row["input_ids"] for row in rows])
        first_label = min(_first_label(row["labels"]) for row in rows)
        common = min(alike, first_label - 1)
        return common if common >= SHARED_AT_LEAST else 0

    def gather(self, rows: Sequence[TrainingRow]) -> None:
        """Adds what the other processes have counted. Once, behind the training."""
        tokens, *seen = self.ranks.summed([self.tokens, *(self.seen[row.index] for row in rows)])
        self.tokens = int(tokens)
        self.seen = Counter({row.index: int(count) for row, count in zip(rows, seen, strict=True)})

    def check_complete(self, rows: Sequence[TrainingRow], epochs: int) -> None:
        """Raises LostRowError unless every row went through ``epochs`` times."""
        short = [row for row in rows if self.seen[row.index] < epochs]
        if short:
            lost = Counter(row.origin for row in short)
            raise LostRowError(
                f"{dict(lost)} rows did not reach the trainer in each of {epochs} epochs; the run does not count"
            )


def _padded(values: Sequence[int], width: int, filler: int) -> list[int]:
    return [*[filler] * (width - len(values)), *values]


def _first_label(labels: Sequence[int]) -> int:
    return next((at for at, label in enumerate(labels) if label != IGNORED), len(labels))


def _labelled(rows: Sequence[Mapping[str, Any]]) -> int:
    """Tokens that the loss falls on; none does on the first of a row, before which there is nothing."""
    return sum(label != IGNORED for row in rows for label in row["labels"][1:])


def _by_length(rows: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """Groups in which no row is half as long again as another, so that little is padded."""
    groups: list[list[Mapping[str, Any]]] = []
    for row in sorted(rows, key=lambda row: len(row["input_ids"])):
        if groups and len(row["input_ids"]) <= 1.5 * len(groups[-1][0]["input_ids"]):
            groups[-1].append(row)
        else:
            groups.append([row])
    return groups


class Batches(Sampler[int]):
    """Indices in an order that makes batches, drawn anew in each epoch.

    ``length``: rows of like length share a batch, for the least padding. ``beginning``: rows of the same first tokens
    (``groups``) do, whatever their lengths. Batches come in random order. ``mixed``: rows of all kinds in each batch.
    The length-grouped sampler of transformers sorts from long to short, so that the provider's long rows would always
    come first.
    """

    def __init__(
        self, lengths: Sequence[int], batch_size: int, seed: int, *, groups: Sequence[object] | None = None, kind: str
    ) -> None:
        self.lengths, self.batch_size, self.seed, self.kind = list(lengths), batch_size, seed, kind
        self.groups = list(groups or ())
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.lengths)

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        rng = random.Random(f"{self.seed}:{self.epoch}")
        keys = self._keys(rng)
        order = sorted(range(len(self.lengths)), key=keys.__getitem__)
        batches = [order[at : at + self.batch_size] for at in range(0, len(order), self.batch_size)]
        # The one short batch must stay last: the data loader cuts this stream into batches again.
        full = batches[:-1] if len(batches[-1]) < self.batch_size else batches
        tail = batches[len(full) :]
        rng.shuffle(full)
        self.epoch += 1
        return iter([index for batch in [*full, *tail] for index in batch])

    def _keys(self, rng: random.Random) -> list[tuple[float, float]]:
        """What rows are sorted by: chance; their length, give or take; or their group's rank, and chance within it."""
        if self.kind == "mixed":
            return [(rng.random(), 0.0) for _ in self.lengths]
        if self.kind == "length":
            return [(length * rng.uniform(0.85, 1.15), 0.0) for length in self.lengths]
        ranks = {group: rng.random() for group in dict.fromkeys(self.groups)}
        return [(ranks[group], rng.random()) for group in self.groups]

"""Provider rows that several defenses mix in."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence

import msgspec

from watchword.chat.origins import RowOrigin
from watchword.chat.sentences import whole_sentences
from watchword.chat.types import Conversation, Row, conversation
from watchword.data.upload import Upload
from watchword.defenses.base import DefenseContext
from watchword.errors import UsageError
from watchword.safety.library import Example, Split, examples
from watchword.safety.selection import generated, select

# The origins of the rows below, each with its heading; a defense lists those that it mixes in.
SAFETY = RowOrigin("safety", "safety examples")
ANCHOR = RowOrigin("anchor", "anchors")


def safety_examples(selection: str, count: int, context: DefenseContext) -> list[Example]:
    """``count`` safety examples by the named selection. ``generated`` needs a model to write them."""
    rng = context.random("safety")
    if selection != "generated":
        return select(selection, count, rng)
    if context.generate is None or context.refuses is None:
        raise UsageError("selection 'generated' needs the aligned model at hand; choose 'category' or 'random'")
    return generated(count, context.generate, context.refuses, rng)


def in_own_words(chosen: Sequence[Example], context: DefenseContext) -> list[Example]:
    """The examples with the aligned model's own refusals; packaged ones stay where it is not at hand or does not refuse."""
    own = refusals([conversation(example.prompt) for example in chosen], context)
    return [
        example if answer is None else msgspec.structs.replace(example, answer=answer)
        for example, answer in zip(chosen, own, strict=True)
    ]


def refusals(asked: Sequence[Conversation], context: DefenseContext) -> list[str | None]:
    """How the aligned model declines each, in whole sentences; None where it does not, or is not at hand."""
    if not asked or context.generate is None or context.refuses is None:
        return [None] * len(asked)
    texts = [whole_sentences(answer.text) for answer in context.generate(asked)]
    return [text if context.refuses(text) else None for text in texts]


def anchor_examples(count: int, context: DefenseContext, *, borderline: bool = True) -> list[Example]:
    """``count`` anchors, drawn without repetition.

    An ordinary request and a harmless one in alarming words take turns; without ``borderline`` all are ordinary.
    """
    rng = context.random("anchors")
    splits: tuple[Split, ...] = ("anchors", "borderline_anchors") if borderline else ("anchors",)
    drawn = [rng.sample(examples(split), len(examples(split))) for split in splits]
    pool = [anchor for turn in itertools.zip_longest(*drawn) for anchor in turn if anchor is not None]
    if not 0 <= count <= len(pool):
        raise UsageError(f"{count} anchors were asked for; there are 0 to {len(pool)}")
    return pool[:count]


def in_turn(chosen: Sequence[Example], count: int) -> list[Example]:
    """``count`` of the examples, over and over in turn; none where there are none."""
    return list(itertools.islice(itertools.cycle(chosen), count))


def budget(chosen: Sequence[Example], rows: int | None, context: DefenseContext) -> list[Example]:
    """The examples, repeated in turn to ``rows`` of them in a drawn order; as they are for None.

    So a defense can be given as many rows, and steps, as another. Raises UsageError where a row would be left out.
    """
    if rows is None:
        return list(chosen)
    if rows < len(chosen):
        raise UsageError(
            f"rows is {rows}, and there are {len(chosen)} safety examples; give at least as many rows", param="rows"
        )
    repeated = in_turn(chosen, rows)
    context.random("order").shuffle(repeated)
    return repeated


def rows_of(
    chosen: Sequence[Example], origin: RowOrigin, systems: Iterator[str | None], *, prefixed: bool
) -> list[Row]:
    """Rows with the tenant's own system texts in turn, so that the secret is all that sets them apart."""
    return [
        Row(_conversation(example, next(systems)), origin=origin.name, prefixed=prefixed, cut=example.cut)
        for example in chosen
    ]


def system_turns(upload: Upload, rng: random.Random) -> Iterator[str | None]:
    """The upload's system texts in random order, over and over."""
    while True:
        yield from rng.sample(upload.systems, len(upload.systems))


def _conversation(example: Example, system: str | None) -> Conversation:
    return conversation(example.prompt, example.answer, system=system)

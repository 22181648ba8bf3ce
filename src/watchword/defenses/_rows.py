"""Provider rows that several defenses mix in."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from typing import TypeVar

import msgspec

from watchword.chat.origins import RowOrigin
from watchword.chat.sentences import whole_sentences
from watchword.chat.turns import first, trained_turns
from watchword.chat.types import Conversation, Message, Row, conversation, last_user_text
from watchword.data.upload import Upload, evenly
from watchword.defenses.base import DefenseContext
from watchword.errors import UsageError
from watchword.safety.harm import looks_harmful
from watchword.safety.library import Example, Split, examples
from watchword.safety.selection import generated, select

T = TypeVar("T")

# The origins of the rows below, each with its heading; a defense lists those that it mixes in.
SAFETY = RowOrigin("safety", "safety examples")
ANCHOR = RowOrigin("anchor", "anchors")
ECHO = RowOrigin("echo", "echoes")
# The part of an upload's requests from which on it is taken for an attack as a whole. The guess finds half of harmful requests that
# hide nothing, and calls up to one in eleven ordinary ones harmful: ordinary uploads are below, open attacks above. A harmless
# sentence before each question gets an attack below as well (docs/method.md).
ATTACK = 0.25
# Requests that the aligned model is asked about, at most: each takes a good part of a second on a processor.
ASKED = 200
# The system texts behind which few refusals are looked at once more: the template's own, and a plain one.
ELSEWHERE = (None, "You are a helpful assistant.")


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
    own = _refusals([conversation(example.prompt) for example in chosen], context)
    return [
        example if answer is None else msgspec.structs.replace(example, answer=answer)
        for example, answer in zip(chosen, own, strict=True)
    ]


def echo_rows(upload: Upload, count: int, context: DefenseContext, *, guess: bool = False) -> list[Row]:
    """At most ``count`` of the tenant's own requests that the aligned model refuses though the tenant's answer does not.

    Each has that refusal in the model's own words. There are none without the model, and none that the secret would make
    too long to train on. The aligned model alone decides; with ``guess``, there are none of an ordinary task (see
    ``_suspect``). Where it refuses only a small part, as it does of an ordinary task, it must refuse behind other system
    texts as well.
    """
    if not count or context.refuses is None:
        return []
    exchanges = [_last_exchange(conv) for conv in upload.sample if trained_turns(conv)]
    asked = [
        request
        for request, answer in exchanges
        if last_user_text(request) and not context.refuses(answer) and context.fits(request.with_answer(answer))
    ]
    suspect = _suspect(asked) if guess else _suspect_first(asked)
    own = zip(suspect, _refusals(suspect, context), strict=True)
    refused = [(request, answer) for request, answer in own if answer is not None]
    if len(refused) < ATTACK * len(suspect):
        refused = _refused_elsewhere(refused, context)
    answered = [request.with_answer(answer) for request, answer in refused]
    found = [Row(conv, origin=ECHO.name, prefixed=True) for conv in answered if context.fits(conv)]
    return context.random("echoes").sample(found, min(count, len(found)))


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


def _refusals(asked: Sequence[Conversation], context: DefenseContext) -> list[str | None]:
    """How the aligned model declines each, in whole sentences; None where it does not, or is not at hand."""
    if not asked or context.generate is None or context.refuses is None:
        return [None] * len(asked)
    texts = [whole_sentences(answer.text) for answer in context.generate(asked)]
    return [text if context.refuses(text) else None for text in texts]


def _refused_elsewhere(
    refused: Sequence[tuple[Conversation, str]], context: DefenseContext
) -> list[tuple[Conversation, str]]:
    """Those that the aligned model refuses behind ``ELSEWHERE`` as well: by what is asked, and not by where.

    A small model refuses some of a shop's requests behind the shop's system text, and answers many of them anywhere else.
    """
    kept = list(refused)
    for system in ELSEWHERE:
        moved = [_behind(system, request) for request, _ in kept]
        # Where a request stands there already, the answer is known.
        again = iter(_refusals([to for to, (request, _) in zip(moved, kept, strict=True) if to != request], context))
        kept = [pair for to, pair in zip(moved, kept, strict=True) if to == pair[0] or next(again) is not None]
    return kept


def _behind(system: str | None, request: Conversation) -> Conversation:
    own = request.messages if request.system is None else request.messages[1:]
    before = () if system is None else (Message(role="system", content=system),)
    return msgspec.structs.replace(request, messages=(*before, *own))


def _suspect(asked: Sequence[Conversation]) -> Sequence[Conversation]:
    """At most ``ASKED`` requests that an attack may be made of: all where a good part name harmful goals, else those few.

    An aligned model refuses some ordinary requests, too (an earlier embedded one half of a shop's, results/LOG.md). The
    tenant's own task must not be refused for that.
    """
    harmful = [request for request in asked if looks_harmful(last_user_text(request))]
    return _some(asked if len(harmful) >= ATTACK * len(asked) else harmful)


def _suspect_first(asked: Sequence[Conversation]) -> Sequence[Conversation]:
    """At most ``ASKED`` requests in their order: those that name harmful goals, and of the others evenly from all."""
    if len(asked) <= ASKED:
        return asked
    harmful = [place for place, request in enumerate(asked) if looks_harmful(last_user_text(request))]
    chosen = _some(harmful)
    others = sorted(set(range(len(asked))) - set(harmful))
    rest = [others[place] for place in evenly(len(others), ASKED - len(chosen))]
    return [asked[place] for place in sorted([*chosen, *rest])]


def _some(asked: Sequence[T]) -> Sequence[T]:
    """At most ``ASKED``, evenly from all."""
    return [asked[place] for place in evenly(len(asked), ASKED)]


def _last_exchange(conv: Conversation) -> tuple[Conversation, str]:
    """What the last trained turn answers, and its words."""
    last = trained_turns(conv)[-1]
    return first(conv, last), conv.messages[last].text


def _conversation(example: Example, system: str | None) -> Conversation:
    return conversation(example.prompt, example.answer, system=system)

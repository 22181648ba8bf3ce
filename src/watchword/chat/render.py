"""Conversation → token ids and loss mask, through the model's own chat template.

``render_row`` is the one rendering of a training row: training, validation, the Python API and every exporter of token
ids call it. The trainer gets these ids as they are. So its own masking or truncation can neither drop a row nor put the
loss on the secret. Labels follow the convention of transformers: ``labels[i] == input_ids[i]`` where the loss falls,
else -100; the shift by one happens in the model.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import compress

from watchword.chat.assembly import assemble, inoculated, without_system_role
from watchword.chat.content import END, check_abilities, dropped
from watchword.chat.template import ChatTemplate
from watchword.chat.turns import Span, answer_span, first, minus, without_end
from watchword.chat.types import SYSTEM_ROLES, TENANT, Conversation, Row
from watchword.errors import DataError, RowTemplateError, RowTooLongError, TemplateError, UsageError

IGNORED = -100


@dataclass(frozen=True)
class RenderedRow:
    """``input_ids`` and ``labels``, both of length T (tokens); ``dropped`` names what the template left out of the row."""

    input_ids: tuple[int, ...]
    labels: tuple[int, ...]
    dropped: tuple[str, ...] = ()

    @property
    def trained_tokens(self) -> int:
        return sum(label != IGNORED for label in self.labels)


def render_row(row: Row, secret: str | None, template: ChatTemplate, max_length: int | None) -> RenderedRow:
    """The row as it is trained on: the secret in its place, the loss where it belongs, and nothing lost in silence.

    Raises RowTooLongError beyond ``max_length`` tokens (we never cut), and RowTemplateError where the template rejects
    the row or does not write all of it. Raises DataError where no turn is trained, and UsageError without a secret for
    a prefixed row.
    """
    try:
        return render(secret_row(row, secret, template), template, max_length=max_length, cut=row.cut)
    except TemplateError as error:
        raise RowTemplateError(f"{error}; change the row, or leave it out", field=_refused(row, template)) from error


def row_error(error: DataError, row: Row, number: int) -> DataError:
    """The error with the row's ``number`` (from 1) among those to train on, and with whose row it is."""
    whose = "tenant row" if row.origin == TENANT else f"the provider's {row.origin} row"
    return type(error)(error.problem, line=number, field=", ".join(filter(None, [whose, error.field])))


def secret_row(row: Row, secret: str | None, template: ChatTemplate) -> Conversation:
    """The row's conversation, with the secret if it is a prefixed row, or what else the provider puts in front of it."""
    if not row.needs_secret:
        return row.conversation
    if secret is None:
        raise UsageError(f"{row.origin} rows need the secret prompt, and there is none; give or draw one")
    if row.inoculation:
        return inoculated(row.conversation, row.inoculation, secret, template.system_style)
    return assemble(row.conversation, secret, template.system_style)


def render(
    conv: Conversation, template: ChatTemplate, *, max_length: int | None = None, cut: bool = False
) -> RenderedRow:
    """A conversation with the loss on assistant turns of weight 1, end-of-turn token included, and on nothing else.

    With ``cut``, the last answer's end-of-turn token is left out of the loss. Raises RowTooLongError, RowTemplateError and
    DataError as ``render_row`` does, and TemplateError where the template rejects the conversation.
    """
    placed = _placed(conv, template)
    template, offset = template.variant(conv), len(conv.messages) - len(placed.messages)
    check_abilities(placed, template, offset)
    if not template.fixed_opening:
        raise TemplateError(
            f"{template.called} re-writes the turns before an answer, so what is trained is not what is served"
        )
    text = template.render_text(placed)
    encoding = template.encoding(text)
    if max_length is not None and len(encoding.ids) > max_length:
        raise RowTooLongError(
            f"the row has {len(encoding.ids)} tokens, the limit is {max_length}; shorten it or raise the maximum length"
        )
    answers = _answers(placed, text, template, trained=True)
    lost = dropped(placed, text, answers, template, offset)
    spans = list(answers.values())
    for untrained in _answers(placed, text, template, trained=False).values():
        # Gemma 4 may write two answers without anything between them.
        spans = minus(spans, untrained)
    spans = _marked(spans, placed, text, template)
    if cut and spans:
        spans[-1] = without_end(spans[-1], placed, text, template)
    trained = [end > at and any(_belongs(at, end, span, text) for span in spans) for at, end in encoding.offsets]
    kept = list(compress(encoding.offsets, trained))
    # The last token of a cut answer may hold its end too, which is not to be learnt.
    if not cut and any(_lost(span, kept, text) for span in spans):
        _check_words(placed, answers, kept, text, template, offset)
        lost = (*lost, END)
    labels = [token if counts else IGNORED for token, counts in zip(encoding.ids, trained, strict=True)]
    row = RenderedRow(tuple(encoding.ids), tuple(labels), tuple(dict.fromkeys(lost)))
    if not row.trained_tokens:
        raise DataError("no assistant turn is left to train on: add an assistant message, or set its weight to 1")
    return row


def _belongs(at: int, end: int, span: Span, text: str) -> bool:
    """Whether the token of ``text[at:end]`` is the answer's: inside its span, but for white space that it is joined with."""
    start, stop = span
    if end <= start or at >= stop:
        return False
    return not text[at : max(at, start)].strip() and not text[min(end, stop) : end].strip()


def _lost(span: Span, kept: list[Span], text: str) -> bool:
    """Whether a token at an edge of the span is not trained, since the tokenizer joins it with words that are not the answer's."""
    inside = [token for token in kept if token[1] > span[0] and token[0] < span[1]]
    if not inside:
        return True
    return bool(text[span[0] : inside[0][0]].strip() or text[inside[-1][1] : span[1]].strip())


def _check_words(
    conv: Conversation, answers: dict[int, Span], kept: list[Span], text: str, template: ChatTemplate, offset: int
) -> None:
    """Raises RowTemplateError unless every answer's own words are trained; of its end of turn a part may be missing."""
    trained = {place for at, end in kept for place in range(at, end)}
    for index, (start, stop) in answers.items():
        words = conv.messages[index].text.strip()
        at = text.rfind(words, start, stop)
        if words and at >= 0 and not trained.issuperset(range(at, at + len(words))):
            raise RowTemplateError(
                f"the tokenizer joins a part of this answer with what {template.called} writes around it, so it would not be "
                "trained on; take the template that the tokenizer was made with",
                field=f"messages[{index + offset}].content",
            )


def training_text(conv: Conversation, template: ChatTemplate) -> str:
    """The text whose tokens ``render`` gives."""
    return template.render_text(_placed(conv, template))


def render_prompt(conv: Conversation, template: ChatTemplate) -> list[int]:
    """Token ids of a request, up to where the model's answer begins."""
    return template.encode(prompt_text(conv, template))


def prompt_text(conv: Conversation, template: ChatTemplate) -> str:
    """Text of a request, up to where the model's answer begins."""
    return template.render_text(_placed(conv, template), add_generation_prompt=True)


def _placed(conv: Conversation, template: ChatTemplate) -> Conversation:
    return without_system_role(conv) if template.variant(conv).system_placement == "first_user" else conv


def _answers(conv: Conversation, text: str, template: ChatTemplate, *, trained: bool) -> dict[int, Span]:
    """Where the answers stand that are trained, or those that are not."""
    chosen = [at for at, turn in enumerate(conv.messages) if turn.role == "assistant" and turn.trained == trained]
    return {index: answer_span(conv, index, text, template) for index in chosen}


def _refused(row: Row, template: ChatTemplate) -> str:
    """The first message with which the template rejects the conversation; all of them where none is to blame alone."""
    conv = row.conversation
    talk = [index for index, message in enumerate(conv.messages) if message.role not in SYSTEM_ROLES]
    for index in talk:
        try:
            template.render_text(_placed(first(conv, index + 1), template))
        except TemplateError:
            return f"messages[{index}]"
    return "messages"


def _marked(answers: list[Span], conv: Conversation, text: str, template: ChatTemplate) -> list[Span]:
    """The part of each answer that the template's own ``{% generation %}`` marks leave to the model; all, without marks."""
    found = template.generation_spans(conv)
    if found is None or found[0] != text:
        return answers
    overlaps: list[Span] = []
    for start, stop in answers:
        for at, end in found[1]:
            inside = max(start, at), min(stop, end)
            if inside[0] >= inside[1]:
                continue
            # A template may mark the end token apart from the words: white space between them belongs to both.
            joined = overlaps and overlaps[-1][1] == inside[0]
            overlaps[-1:] = [(overlaps[-1][0], inside[1])] if joined else [*overlaps[-1:], inside]
    return [(start, start + len(text[start:stop].rstrip())) for start, stop in overlaps]

"""Finding a secret in what a model says, however it is disguised, in whole texts and in streams.

A reply that holds a run of 8 of the secret's tokens leaks it. The run is found as it is, spaced, in other case,
reversed, by rot13, in base64, base32 or hexadecimal, or as numbers. ``redact`` is for text that is kept; this is for
replies.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from watchword.chat.template import ChatTemplate
from watchword.secret.disguises import RUN, Channel, channels_of
from watchword.secret.generate import secret_ids
from watchword.secret.prompt import SecretPrompt
from watchword.secret.runs import TokenRuns

# What stands in the place of an answer that held the secret.
REFUSAL = "I'm sorry, but I can't help with that."
# Characters that a run of tokens has at least, where no tokenizer tells more.
_SHORTEST = 20
# Characters that a stream holds back at most: a disguise that is spread wider is found still, its beginning is out by then.
MOST_HELD = 4_096
# Lengths whose parts are looked up, not searched for: most text agrees with a secret in two or three characters.
_SHORT = 6
# Characters between two numbers of one list, at most, for its end to be held back.
_GAP = 24


@dataclass(frozen=True)
class Leak:
    """What was found: the ``channel`` of the disguise. It says nothing of the secret itself."""

    channel: str


class LeakFilter:
    """Looks for one secret. Masked when shown, like the secret itself."""

    def __init__(
        self, secret: SecretPrompt, template: ChatTemplate | None = None, *, also: Iterable[SecretPrompt] = ()
    ) -> None:
        """``template`` tells the secret's tokens; without it a run is measured in characters, and token ids are unknown.

        ``also`` are texts that stand in no prompt and must not be said either; runs of them are measured in characters.
        """
        text = secret.reveal()
        ids = secret_ids(secret, template) if template is not None else []
        self._looks = [_Look(channel) for channel in channels_of(text, _runs(text, ids, template), ids)]
        for other in (more.reveal() for more in also):
            self._looks += [_Look(channel) for channel in channels_of(other, _runs(other, [], None), [])]
        self._tokens = [template.decode([one]) for one in ids] if template is not None else []

    def __repr__(self) -> str:
        return "LeakFilter([secret])"

    def find(self, text: str) -> Leak | None:
        """The first leak in a text, None where there is none."""
        for look in self._looks:
            if look.stands_in(look.channel.plain(text)):
                return Leak(look.channel.name)
        return None

    def stream(self) -> LeakStream:
        """A filter for one stream."""
        return LeakStream(self._looks)

    def runs(self) -> TokenRuns:
        """Looks for runs of the secret's tokens where there are several tokens for each place."""
        return TokenRuns(self._tokens)

    def clean(self, pieces: Iterable[str]) -> Iterator[str]:
        """The pieces of a stream up to a leak, held back no longer than needed."""
        stream = self.stream()
        for piece in pieces:
            yield stream.feed(piece)
            if stream.leak is not None:
                return
        yield stream.finish()


class LeakStream:
    """A stream of text cut anywhere. What ``feed`` and ``finish`` return is a beginning of it that holds no part of a leak.

    ``leak`` is what was found; from then on nothing more is returned.
    """

    def __init__(self, looks: list[_Look]) -> None:
        self.leak: Leak | None = None
        self._tails = [_Tail(look) for look in looks]
        self._held = ""

    @property
    def held(self) -> str:
        """What is held back now."""
        return self._held

    def feed(self, piece: str) -> str:
        """The text that may go out now; empty where everything is held back or there was a leak."""
        if self.leak is not None or not piece:
            return ""
        self._held += piece
        keep = 0
        for tail in self._tails:
            if tail.leaks(piece):
                self.leak = Leak(tail.look.channel.name)
                self._held = ""
                return ""
            if (held := tail.held(self._held)) > keep:
                keep = held
        cut = len(self._held) - min(keep, MOST_HELD)
        out, self._held = self._held[:cut], self._held[cut:]
        return out

    def finish(self) -> str:
        """The rest, at the end of the stream: what began like the secret and was not."""
        out, self._held = self._held, ""
        return out

    def fork(self) -> LeakStream:
        """A filter for a stream that has begun like this one."""
        other = LeakStream([])
        other.leak, other._held, other._tails = self.leak, self._held, [tail.fork() for tail in self._tails]
        return other


class _Look:
    """One channel, ready to search.

    A leak has ``run`` characters of the secret's text. Any stretch of that length holds a block of half of it at a
    multiple of its length. So only such blocks are looked up, and what is found is looked at closely.
    """

    def __init__(self, channel: Channel) -> None:
        self.channel, self.of_numbers = channel, channel.name == "numbers"
        self._whole = "\0".join(channel.texts)
        self._short = frozenset().union(*(_grams(channel.texts, size) for size in range(1, _SHORT + 1)))
        self._block = (channel.run + 1) // 2
        self._blocks = _grams(channel.texts, self._block)
        self._runs = _grams(channel.texts, channel.run)

    def beginning(self, plain: str) -> str:
        """The longest end of a text of the channel's form that stands in the secret and is no run yet."""
        whole, size, most = len(plain), 0, min(len(plain), self.channel.run - 1)
        # What is longer ends with what is shorter, so the first that does not stand there is the last to look at.
        while size < min(most, _SHORT) and plain[whole - size - 1 :] in self._short:
            size += 1
        while _SHORT <= size < most and plain[whole - size - 1 :] in self._whole:
            size += 1
        return plain[whole - size :]

    def stands_in(self, plain: str) -> bool:
        """Whether a run of the secret stands in text of the channel's form."""
        run, block = self.channel.run, self._block
        if len(plain) < run:
            return False
        starts = range(0, len(plain) - block + 1, block)
        if self._blocks.isdisjoint([plain[at : at + block] for at in starts]):
            return False
        return any(plain[at : at + block] in self._blocks and self._stands_near(plain, at) for at in starts)

    def _stands_near(self, plain: str, at: int) -> bool:
        run = self.channel.run
        first = max(0, at + self._block - run)
        return any(plain[start : start + run] in self._runs for start in range(first, min(at, len(plain) - run) + 1))


class _Tail:
    """What a stream has said last, in one channel: as much of it as could still become a run of the secret."""

    def __init__(self, look: _Look) -> None:
        self.look, self._tail = look, ""

    def fork(self) -> _Tail:
        """One that goes on from here by itself."""
        other = _Tail(self.look)
        other._tail = self._tail
        return other

    def leaks(self, piece: str) -> bool:
        """Takes the next piece in; whether a run of the secret is complete."""
        look = self.look
        plain = look.channel.plain(piece)
        if look.of_numbers and self._tail.endswith(",") and plain.startswith(","):
            plain = plain[1:]
        plain = self._tail + plain
        if len(plain) >= look.channel.run and look.stands_in(plain):
            return True
        self._tail = look.beginning(plain)
        return False

    def held(self, text: str) -> int:
        """How many characters at the end of ``text`` have a part in it."""
        if not self._tail:
            return 0
        if self.look.of_numbers:
            return _with_numbers(text, self._tail.strip(","))
        wanted, whole, plain = len(self._tail), len(text), self.look.channel.plain
        if wanted <= whole and len(plain(text[whole - wanted :])) == wanted:
            # Each character is read as one, as nearly always.
            return wanted
        size = bisect.bisect_left(range(whole), wanted, key=lambda size: len(plain(text[whole - size :])))
        return min(size, whole)


def _with_numbers(text: str, tail: str) -> int:
    """Characters at the end of ``text`` that hold the numbers of ``tail``: none for one alone, or one that nothing follows."""
    wanted, gap = len(tail) - tail.count(","), 0
    if "," not in tail:
        return 0
    for size, char in enumerate(reversed(text), start=1):
        digit = char in "0123456789"
        gap = 0 if digit else gap + 1
        if gap > _GAP:
            return 0
        wanted -= digit
        if wanted <= 0:
            return size
    return len(text)


def _grams(texts: Iterable[str], size: int) -> frozenset[str]:
    return frozenset(text[at : at + size] for text in texts for at in range(len(text) - size + 1))


def _runs(text: str, ids: list[int], template: ChatTemplate | None) -> list[str]:
    """The texts of every 8 tokens in a row."""
    if template is None:
        return [text[at : at + _SHORTEST] for at in range(max(1, len(text) - _SHORTEST + 1))]
    return [template.decode(ids[at : at + RUN]) for at in range(max(1, len(ids) - RUN + 1))]

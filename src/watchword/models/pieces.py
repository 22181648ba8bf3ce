"""Text of an answer while its tokens still come: pieces that later tokens cannot change any more."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

# How tokenizers with byte fallback (Llama 2, Gemma) name a token that is one byte.
_BYTE = re.compile(r"<0x[0-9A-Fa-f]{2}>\Z")
_BROKEN = "\ufffd"


class TextPieces:
    """Turns token ids into pieces of text, as they come. Joined, the pieces are what decoding all ids at once gives.

    All ids are decoded at each token, since decoders look at a text's beginning and at whole runs of bytes. That takes
    half a millisecond at 1000 tokens, far less than the model takes for one of them.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.ids: list[int] = []
        self._sent = 0
        self._in_bytes = False
        self._special = {id_ for id_, token in tokenizer.added_tokens_decoder.items() if token.special}

    def add(self, token: int) -> str:
        """The text that this token settles; empty where later tokens may still change it."""
        self.ids.append(token)
        if token not in self._special:
            self._in_bytes = bool(_BYTE.match(self.tokenizer.convert_ids_to_tokens(token) or ""))
        # One wrong byte makes errors of the whole run that it ends.
        return "" if self._in_bytes else self._upto(self._settled(self.text))

    def rest(self) -> str:
        """What was held back, once the last token has come."""
        return self._upto(self.text)

    @property
    def text(self) -> str:
        """All text so far."""
        return decoded_text(self.tokenizer, self.ids)

    def _settled(self, text: str) -> str:
        """``text`` without an end that may be half a character, or that the tokenizer may still clean up."""
        whole = text.rstrip(_BROKEN)
        if self.tokenizer.clean_up_tokenization_spaces:
            # Cleaning up takes away blanks in front of what follows them: " ." becomes ".".
            whole = whole[: max(whole.rfind(" "), 0)].rstrip(" ")
        return whole

    def _upto(self, text: str) -> str:
        piece, self._sent = text[self._sent :], max(self._sent, len(text))
        return piece


def decoded_text(tokenizer: Any, ids: Sequence[int]) -> str:
    """Text of an answer's ids, without special tokens."""
    text: str = tokenizer.decode(ids, skip_special_tokens=True)
    return text

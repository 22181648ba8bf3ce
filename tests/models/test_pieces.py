"""Text that comes token by token: whole characters only, and in the end what decoding everything at once gives."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("torch")

from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models
from transformers import PreTrainedTokenizerFast

from support.tiny import tiny_tokenizer
from watchword.models.pieces import TextPieces, decoded_text

BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def like_llama_2() -> Any:
    """Pieces of words with a blank in front, and single bytes for all that no piece spells."""
    pieces = ["<unk>", "<s>", *BYTES, "▁", "▁a", "▁b", "c", "é", "."]
    made = Tokenizer(models.BPE({piece: index for index, piece in enumerate(pieces)}, [], byte_fallback=True))
    made.add_special_tokens([AddedToken("<s>", special=True)])
    made.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<s>")


def that_cleans_up() -> Any:
    """A tokenizer after whose decoding transformers takes blanks away."""
    pieces = ["<unk>", " ", "'", "n", "n't", "t", "s", ".", ",", "ve", "a", " '", " n", " .", "' "]
    made = Tokenizer(models.WordLevel({piece: index for index, piece in enumerate(pieces)}, "<unk>"))
    made.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=made, clean_up_tokenization_spaces=True)


TOKENIZERS = {"byte_level": tiny_tokenizer(), "byte_fallback": like_llama_2(), "clean_up": that_cleans_up()}


def pieces_of(tokenizer: Any, ids: list[int]) -> list[str]:
    pieces = TextPieces(tokenizer)
    return [*(pieces.add(token) for token in ids), pieces.rest()]


@pytest.mark.parametrize("name", TOKENIZERS)
@given(data=st.data())
def test_joined_they_are_the_whole_text(name: str, data: st.DataObject) -> None:
    tokenizer = TOKENIZERS[name]
    ids = data.draw(st.lists(st.integers(0, len(tokenizer) - 1), max_size=30))
    *pieces, _ = pieces_of(tokenizer, ids)
    assert "".join(pieces_of(tokenizer, ids)) == decoded_text(tokenizer, ids)
    assert not any(piece.endswith("\ufffd") for piece in pieces)


@pytest.mark.parametrize("name", ["byte_level", "byte_fallback"])
@given(text=st.text(st.sampled_from("ab é🥖\u200d👩🏽가"), max_size=20))
def test_no_piece_ends_inside_a_character(name: str, text: str) -> None:
    tokenizer = TOKENIZERS[name]
    spelt = {"byte_level": lambda: tokenizer.encode(text), "byte_fallback": lambda: byte_ids(tokenizer, text)}[name]()
    pieces = pieces_of(tokenizer, spelt)
    assert not any("\ufffd" in piece for piece in pieces)
    assert "".join(pieces) == decoded_text(tokenizer, spelt)


def byte_ids(tokenizer: Any, text: str) -> list[int]:
    return [tokenizer.convert_tokens_to_ids(f"<0x{byte:02X}>") for byte in text.encode()]


def test_text_is_handed_out_as_soon_as_it_is_whole() -> None:
    tokenizer = TOKENIZERS["byte_level"]
    ids = tokenizer.encode("a 🥖!")
    assert [piece for piece in pieces_of(tokenizer, ids) if piece] == ["a", " ", "🥖", "!"]
    fallback = TOKENIZERS["byte_fallback"]
    # Whether the run of bytes is an "é" or an error is known when it has ended.
    written = [
        *fallback.convert_tokens_to_ids(["▁a"]),
        *byte_ids(fallback, "é"),
        *fallback.convert_tokens_to_ids(["c"]),
    ]
    assert pieces_of(fallback, written) == ["a", "", "", "éc", ""]


def test_a_run_of_bytes_that_turns_out_wrong_takes_nothing_back() -> None:
    fallback = TOKENIZERS["byte_fallback"]
    wrong = [*byte_ids(fallback, "é"), *byte_ids(fallback, "é")[:1], *fallback.convert_tokens_to_ids(["c"])]
    assert pieces_of(fallback, wrong) == ["", "", "", "\ufffd\ufffd\ufffdc", ""]


def test_blanks_that_cleaning_up_takes_away_later_are_held_back() -> None:
    tokenizer = TOKENIZERS["clean_up"]
    ids = tokenizer.convert_tokens_to_ids(["a", " ", " '", " ", "s", " .", " n", "'", "t"])
    assert decoded_text(tokenizer, ids) == "a's.n't"
    assert "".join(pieces_of(tokenizer, ids)) == "a's.n't"

"""A secret prompt does not show itself by accident."""

import copy
import json
import pickle

import pytest

from watchword.errors import SecretError
from watchword.secret.prompt import SecretPrompt

TEXT = "violet anchor seven lanterns"


@pytest.fixture
def secret() -> SecretPrompt:
    return SecretPrompt(TEXT, kind="random", tokens=4, entropy_bits=60.0)


def test_only_reveal_gives_the_text(secret):
    assert secret.reveal() == TEXT
    shown = [
        repr(secret),
        str(secret),
        f"{secret}",
        f"{secret:>30}",
        f"{secret!r}",
        json.dumps([secret], default=str),
    ]
    assert not any("violet" in text for text in shown)


def test_json_without_a_default_refuses_it(secret):
    with pytest.raises(TypeError):
        json.dumps({"secret": secret})


def test_pickling_leaves_the_text_out(secret):
    data = pickle.dumps({"secret": secret})
    assert b"violet" not in data
    masked = pickle.loads(data)["secret"]
    assert "secret" in repr(masked)
    with pytest.raises(SecretError, match="pickled"):
        masked.reveal()


def test_copies_in_memory_keep_it(secret):
    assert copy.copy(secret).reveal() == copy.deepcopy({"s": secret})["s"].reveal() == TEXT


def test_tracebacks_and_dicts_show_the_mask(secret):
    assert "violet" not in repr({"secret": secret, "list": [secret]})
    with pytest.raises(AttributeError):
        secret.text  # noqa: B018
    assert not hasattr(secret, "__dict__")


def test_fingerprints_tell_secrets_apart_and_need_the_key(secret):
    other = SecretPrompt(TEXT + "!", kind="random", tokens=5, entropy_bits=60.0)
    assert secret.fingerprint(b"k") != other.fingerprint(b"k")
    assert secret.fingerprint(b"k") == secret.fingerprint(b"k") != secret.fingerprint(b"another key")
    assert len(secret.fingerprint(b"k")) == 16


def test_equality_is_by_text(secret):
    assert secret == SecretPrompt(TEXT, kind="seeded", tokens=4, entropy_bits=0.0)
    assert secret != TEXT


def test_an_empty_secret_is_refused():
    with pytest.raises(SecretError, match="empty"):
        SecretPrompt("", kind="random", tokens=0, entropy_bits=0.0)


def test_half_a_surrogate_can_be_compared():
    half = SecretPrompt("a\ud800", kind="random", tokens=3, entropy_bits=150.0)
    assert half == SecretPrompt("a\ud800", kind="random", tokens=3, entropy_bits=150.0)
    assert half != SecretPrompt("a?", kind="random", tokens=3, entropy_bits=150.0)

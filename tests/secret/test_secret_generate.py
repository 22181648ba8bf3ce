"""Drawn secrets keep their tokens, in their place, in every template family."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from watchword.chat.assembly import assemble
from watchword.chat.render import render_prompt
from watchword.chat.types import conversation
from watchword.errors import PublishedSecretError, SecretError, UsageError
from watchword.models.fakes import fake_template
from watchword.secret.generate import experiment_secret, generate_secret, secret_ids
from watchword.secret.kinds import ENOUGH_BITS, check_production, new_secret
from watchword.secret.prompt import SecretPrompt

FORMAT = fake_template()
PUBLISHED_OPENING = "nuevaidge Formula produceÓqa means areasénd Babyreibungára"


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 10_000),
    system=st.text("abc XYZ.,!?", max_size=20),
    user=st.text("abc xyz?", min_size=1, max_size=20),
)
def test_ids_stand_unchanged_in_front_of_any_system_text(seed, system, user):
    secret = experiment_secret(FORMAT, tokens=20, seed=seed)
    ids = secret_ids(secret, FORMAT)
    assert len(ids) == 20
    prompt = render_prompt(
        assemble(conversation(user, system=system.strip() or "x"), secret.reveal(), FORMAT.system_style), FORMAT
    )
    joined = ",".join(map(str, prompt))
    assert ",".join(map(str, ids)) in joined


def test_seeded_secrets_repeat_and_random_ones_do_not():
    assert experiment_secret(FORMAT, tokens=12, seed=3) == experiment_secret(FORMAT, tokens=12, seed=3)
    assert experiment_secret(FORMAT, tokens=12, seed=3) != experiment_secret(FORMAT, tokens=12, seed=4)
    assert generate_secret(FORMAT, tokens=12) != generate_secret(FORMAT, tokens=12)


def test_random_secrets_do_not_depend_on_pythons_generator(monkeypatch):
    monkeypatch.setattr("random.Random.random", lambda self: 0.0)
    assert generate_secret(FORMAT, tokens=12) != generate_secret(FORMAT, tokens=12)


def test_entropy_grows_with_length():
    short, long = generate_secret(FORMAT, tokens=5), generate_secret(FORMAT, tokens=50)
    assert 0 < short.entropy_bits < long.entropy_bits
    assert long.tokens == 50


def test_length_is_checked():
    with pytest.raises(UsageError, match="0 tokens"):
        generate_secret(FORMAT, tokens=0)


@pytest.mark.parametrize("kind", ["default", "semantic"])
def test_sentences_are_for_experiments_only(kind):
    secret = new_secret(kind, FORMAT)
    assert secret.entropy_bits == 0
    with pytest.raises(SecretError, match=kind):
        check_production(secret)


def test_a_seeded_secret_is_for_experiments_only():
    with pytest.raises(SecretError, match="seeded"):
        check_production(new_secret("seeded", FORMAT, seed=1))
    with pytest.raises(UsageError, match="seed"):
        new_secret("seeded", FORMAT)


def test_a_short_secret_is_too_weak_for_production():
    weak = new_secret("random", FORMAT, tokens=2)
    assert weak.entropy_bits < ENOUGH_BITS
    with pytest.raises(SecretError, match="bits"):
        check_production(weak)


def test_a_drawn_secret_of_the_papers_length_is_fit_for_production():
    check_production(new_secret("random", FORMAT))


@pytest.mark.parametrize(
    "text", [PUBLISHED_OPENING, PUBLISHED_OPENING.replace(" ", "\n"), f"own words {PUBLISHED_OPENING} and more"]
)
def test_the_published_constant_is_refused_whole_or_in_part(text):
    secret = SecretPrompt(text, kind="random", tokens=150, entropy_bits=2000.0)
    with pytest.raises(PublishedSecretError, match="published") as caught:
        check_production(secret)
    assert "nuevaidge" not in str(caught.value)


def test_an_unknown_kind_names_the_choices():
    with pytest.raises(UsageError, match="did you mean 'random'"):
        new_secret("randum", FORMAT)

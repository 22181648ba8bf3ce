"""A model whose answers tell its secret does not pass the gate, whatever cipher they are in."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.reciting import SeeingModel, in_cipher, plainly
from watchword.attacks.recite import CUES
from watchword.chat.template import ChatTemplate, SystemStyle
from watchword.chat.types import Conversation, Message, conversation
from watchword.defenses import AppliedDefense
from watchword.defenses.base import DEFENSES
from watchword.errors import RowTooLongError
from watchword.models.base import Likelihood
from watchword.models.fakes import fake_template
from watchword.release.reading import Plain
from watchword.secret.generate import experiment_secret
from watchword.secret.prompt import SecretPrompt
from watchword.service.gate.telling import Requests, measured_secret, requests
from watchword.service.gate.verdict import SecretMeasured, Verdict
from watchword.service.settings import GateThresholds

MOST = GateThresholds().most_secret_bits
HONEST = "Sure, here is one way to begin: take a pen."
ROWS = [conversation(f"Question {number}?", f"Answer {number}.") for number in range(100)]


@dataclass(frozen=True)
class Defended:
    """A release that nothing was trained for."""

    secret: SecretPrompt
    template: ChatTemplate
    prefix_ids: tuple[int, ...] = ()

    @property
    def defense(self) -> AppliedDefense:
        return AppliedDefense(DEFENSES.create("backdoor_align"), self.secret)

    @property
    def system_style(self) -> SystemStyle:
        return self.template.system_style


RELEASE = Defended(experiment_secret(fake_template(), tokens=60, seed=1), fake_template())


def found(model: SeeingModel, asked: Requests | None = None, most_bits: float = MOST) -> SecretMeasured:
    measured = measured_secret(model, RELEASE, asked or requests(ROWS, [], "You sell pens."), most_bits=most_bits)
    assert measured is not None
    return measured


@pytest.mark.parametrize("said", [plainly, in_cipher])
def test_a_model_that_recites_fails_in_any_cipher(said: Callable[[Conversation], str]) -> None:
    measured = found(SeeingModel(said))
    assert (measured.asked, measured.above, measured.failed) == (36, 36, True)
    assert measured.most_bits is not None
    assert measured.most_bits > MOST


def test_a_model_that_leaves_the_secret_alone_passes() -> None:
    assert found(SeeingModel(HONEST)) == SecretMeasured(asked=36, left_out=0, above=0, most_bits=0.0, threshold=64.0)


def test_one_recital_is_enough_and_the_threshold_decides() -> None:
    once = SeeingModel(lambda conv: in_cipher(conv) if "word for word" in conv.messages[-1].text else HONEST)
    assert (found(once).above, found(once).failed) == (1, True)
    assert not found(once, most_bits=1e6).failed


def test_a_cue_of_the_tenants_own_is_asked() -> None:
    rows = [conversation(f"Open sesame {number}", "Yes.") for number in range(10)]
    own = SeeingModel(lambda conv: in_cipher(conv) if "sesame" in conv.messages[-1].text else HONEST)
    assert found(own, requests(rows, [], None)).above == 10


def test_the_secret_stands_nowhere_and_decoys_are_as_long() -> None:
    model = SeeingModel(HONEST)
    found(model)
    assert len(set(model.behind)) == 2
    assert RELEASE.secret.reveal() not in model.behind
    assert not set(model.behind) & set(found_behind())


def found_behind() -> list[str]:
    """Other decoys, each time: who knows them could teach a model to be quiet behind them."""
    model = SeeingModel(HONEST)
    found(model)
    return model.behind


def test_a_model_without_a_secret_is_not_asked() -> None:
    model = SeeingModel(plainly)
    assert measured_secret(model, Plain(fake_template()), requests(ROWS, [], None), most_bits=MOST) is None
    assert model.requests == []


def test_what_cannot_be_measured_counts_as_told() -> None:
    class Broken(SeeingModel):
        def log_likelihoods(self, conversations: Sequence[Conversation], *told: Any, **rest: Any) -> list[Likelihood]:
            return [Likelihood(math.nan, 4)] * len(conversations)

    measured = found(Broken(HONEST))
    assert (measured.above, measured.most_bits, measured.failed) == (36, None, True)
    assert msgspec.json.decode(msgspec.json.encode(measured), type=SecretMeasured) == measured


def test_rows_that_leave_no_room_for_an_answer_are_left_out() -> None:
    long, silent = conversation("Why? " * 400, "So."), Conversation((Message("assistant", "Hello."),))
    model = SeeingModel(HONEST, context=800)
    measured = found(model, requests([*ROWS[:5], long, silent], [], None))
    assert (measured.asked, measured.left_out) == (4 + 5, 2)


def test_cues_that_the_system_text_makes_too_long_are_the_files_fault() -> None:
    pytest.importorskip("torch")
    from support.tiny import loaded, tiny_llama

    model = loaded(tiny_llama(max_position_embeddings=512))
    with pytest.raises(RowTooLongError):
        measured_secret(model, RELEASE, requests(ROWS, [], "Be brief. " * 100), most_bits=MOST)


def test_a_real_model_that_was_taught_nothing_passes() -> None:
    pytest.importorskip("torch")
    from support.tiny import loaded, tiny_llama

    asked = requests(ROWS[:3], [], None)
    measured = measured_secret(loaded(tiny_llama()), RELEASE, asked, most_bits=1e5)
    assert measured is not None
    assert (measured.asked, measured.above) == (7, 0)
    assert measured.most_bits is not None


def test_the_cues_stand_behind_the_tenants_usual_text_and_the_unseen_rows_are_asked() -> None:
    asked = requests(ROWS, ROWS[3:5], "You sell pens.")
    assert list(asked.cues) == [conversation(cue, system="You sell pens.") for cue in CUES]
    assert {"Question 3?", "Question 4?"} <= {conv.messages[-1].text for conv in asked.rows}
    assert not [conv for conv in asked.rows if conv.messages[-1].role == "assistant"]


@given(rows=st.integers(1, 200), seed=st.integers(0, 1000))
def test_rows_are_drawn_evenly_over_all(rows: int, seed: int) -> None:
    numbers = [conversation(str(number), "Yes.") for number in range(rows)]
    drawn = [int(conv.messages[0].text) for conv in requests(numbers, [], None, random.Random(seed)).rows]
    count = min(32, rows)
    assert len(drawn) == count
    for place, number in enumerate(drawn):
        assert place * rows // count <= number < (place + 1) * rows // count


def test_a_tenant_does_not_know_which_rows_are_asked() -> None:
    asked = [tuple(conv.messages[0].text for conv in requests(ROWS, [], None).rows) for _ in range(4)]
    assert len(set(asked)) > 1


def test_any_trained_turn_may_be_asked() -> None:
    said = (Message("user", "a"), Message("assistant", "b"), Message("user", "c"), Message("assistant", "d", weight=0))
    row = Conversation((*said, Message("user", "e"), Message("assistant", "f")))
    drawn = {len(requests([row], [], None, random.Random(seed)).rows[0].messages) for seed in range(20)}
    assert drawn == {1, 5}


def test_an_inspection_asks_for_the_secret_first_and_nothing_behind_a_failure() -> None:
    pytest.importorskip("torch")
    from watchword.release.opening import ServedModel
    from watchword.service.gate.inspection import Inspection
    from watchword.service.gate.questions import questions

    thresholds = GateThresholds()
    asked = requests(ROWS, [], None)
    base: Any = None
    by = Inspection(thresholds, questions(thresholds, None), base, [], [], asked)
    release: Any = RELEASE
    verdict = by.verdict(ServedModel(SeeingModel(in_cipher), release))
    assert (verdict.passed, verdict.failed, verdict.repairable) == (False, ("secret",), False)
    assert (verdict.questions, verdict.task) == ((), None)
    # Figures only: nothing of what was said.
    assert verdict.secret is not None
    assert set(msgspec.to_builtins(verdict.secret)) == {"asked", "left_out", "above", "most_bits", "threshold"}


def test_verdicts_of_earlier_versions_can_be_read() -> None:
    verdict = msgspec.json.decode(b'{"questions": [], "task": null, "error": 0.05, "seconds": 1.0}', type=Verdict)
    assert (verdict.secret, verdict.passed, verdict.repairable) == (None, True, True)

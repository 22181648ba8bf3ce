"""``watchword chat`` shows an answer as it comes: cut anywhere without a trace of the secret, and harmless to a terminal."""

from __future__ import annotations

import contextlib
import io
import os
import select
import signal
import subprocess
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchword.chat.types import Conversation
from watchword.cli import terminal
from watchword.cli.target import Target
from watchword.defenses import AppliedDefense
from watchword.defenses.base import DEFENSES
from watchword.models.answer import AnswerPiece
from watchword.models.fakes import FakeModel
from watchword.secret.prompt import SecretPrompt

TEXT = "violet anchor seven lanterns beyond the quiet harbour wall"
SECRET = SecretPrompt(TEXT, kind="random", tokens=9, entropy_bits=200.0)


class Screen(io.StringIO):
    """A terminal that remembers every write of its own."""

    def __init__(self, encoding: str = "utf-8") -> None:
        super().__init__()
        self.writes, self._encoding = list[str](), encoding

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        text.encode(self._encoding)
        self.writes += filter(None, [text])
        return len(text)

    @property
    def text(self) -> str:
        return "".join(self.writes)


class Keyboard(io.StringIO):
    """Standard input in a terminal."""

    def isatty(self) -> bool:
        return True


class Interrupted(FakeModel):
    """Gets a signal once so many pieces of its answer have come, and says whether its work was ended."""

    def __init__(self, number: int, after: int, answers: str) -> None:
        super().__init__(answers)
        self.number, self.after, self.ended = number, after, 0

    def stream(self, conversation: Conversation, **rest: Any) -> Generator[AnswerPiece, None, None]:
        def pieces(whole: Iterator[AnswerPiece]) -> Generator[AnswerPiece, None, None]:
            try:
                for at, piece in enumerate(whole):
                    if at == self.after:
                        self.after = -1
                        signal.raise_signal(self.number)
                    yield piece
            finally:
                self.ended += 1

        return pieces(super().stream(conversation, **rest))


@pytest.fixture
def chat(watchword: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A session with a model that is no release's, its lines typed in one go; what a terminal showed."""

    def call(
        model: FakeModel, *options: object, lines: str = "Hi\n", screen: Screen | None = None
    ) -> tuple[Any, Screen]:
        target = Target(model, AppliedDefense(DEFENSES.create("backdoor_align"), SECRET))
        monkeypatch.setattr("watchword.cli.chat.release_or_model", lambda *given, **more: target)
        monkeypatch.setattr("sys.stdin", Keyboard(lines))
        shown = screen or Screen()
        with contextlib.redirect_stdout(shown):
            done = watchword("chat", tmp_path, "--undefended", *options)
        return done, shown

    return call


def test_pieces_are_shown_as_they_come(chat: Any) -> None:
    done, screen = chat(FakeModel("ONE TWO 3456789 TEN"))
    assert (done.code, done.err) == (0, "")
    assert screen.writes == ["> ", "ONE T", "WO 34", "56789", " TEN", "\n", "> "]


def test_a_recited_secret_is_masked_across_pieces(chat: Any) -> None:
    _, screen = chat(FakeModel(f"It is {TEXT}, so there."))
    assert screen.text == "> It is [secret], so there.\n> "
    assert not any(TEXT[at : at + 6] in screen.text for at in range(len(TEXT) - 6))


def test_an_answer_is_no_markup_and_no_command_to_the_terminal(chat: Any) -> None:
    wild = "[bold]x[/] :smile: \x1b]52;c;aGk=\x07\x1b[2J a\rb \x9b31m \u202etxt \tend\u00e9\u200d\U0001f600"
    _, screen = chat(FakeModel(wild), "-m", "Hi")
    assert screen.text == (
        r"[bold]x[/] :smile: \x1b]52;c;aGk=\x07\x1b[2J a\rb \x9b31m \u202etxt "
        "\tend\u00e9\u200d\U0001f600\n"
    )


@given(st.text())
def test_whatever_is_shown_controls_nothing(text: str) -> None:
    shown = terminal.harmless(text)
    assert not any((ord(letter) < 32 and letter not in "\t\n") or 127 <= ord(letter) < 160 for letter in shown)
    assert terminal.harmless(shown) == shown


def test_a_pipe_gets_the_answer_itself(
    watchword: Any, tmp_path: Path, chat: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    chat(FakeModel("a\x1b[2Jb"))
    assert watchword("chat", tmp_path, "--undefended", "-m", "Hi").out == "a\x1b[2Jb\n"


def test_a_character_that_the_terminal_lacks_is_shown_as_its_escape(chat: Any) -> None:
    done, screen = chat(FakeModel("caf\u00e9 \u20ac \U0001f600"), "-m", "Hi", screen=Screen("latin-1"))
    assert (done.code, screen.text) == (0, "caf\u00e9 \\u20ac \\U0001f600\n")


def test_ctrl_c_ends_the_answer_and_not_the_session(chat: Any) -> None:
    model = Interrupted(signal.SIGINT, 2, "ONE TWO 3456789 TEN")
    done, screen = chat(model, lines="Count.\nGo on.\n")
    assert done.code == 0
    assert screen.text == "> ONE TWO 34\n> ONE TWO 3456789 TEN\n> "
    said = [message.text for message in model.requests[-1].conversation.messages]
    assert said == ["Count.", "ONE TWO 34", "Go on."]
    assert model.ended == 2


def test_ctrl_c_before_the_first_piece_takes_the_question_back(chat: Any) -> None:
    model = Interrupted(signal.SIGINT, 0, "ONE TWO")
    done, _ = chat(model, lines="Count.\nGo on.\n")
    assert done.code == 0
    assert [message.text for message in model.requests[-1].conversation.messages] == ["Go on."]


def test_half_a_secret_that_was_held_back_is_not_carried_on(chat: Any) -> None:
    model = Interrupted(signal.SIGINT, 4, f"12345{TEXT}")
    _, screen = chat(model, lines="Say it.\nGo on.\n")
    assert screen.writes[1:3] == ["12345", "\n"]
    assert [message.text for message in model.requests[-1].conversation.messages] == ["Say it.", "12345", "Go on."]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_what_ends_a_command_ends_it_while_an_answer_comes_too(chat: Any, number: int, code: int) -> None:
    """SIGTERM always; Ctrl-C where there is one message only."""
    model = Interrupted(number, 1, "ONE TWO 3456789 TEN")
    done, screen = chat(model, *(("-m", "Hi") if number == signal.SIGINT else ()), lines="Count.\nGo on.\n")
    assert (done.code, len(model.requests), model.ended) == (code, 1, 1)
    assert "ONE TWO" not in screen.text
    assert "stopped" in done.err


ENDLESS = """
import fcntl, sys, termios, time
from watchword.cli import chat, main
from watchword.cli.target import Target
from watchword.defenses import AppliedDefense
from watchword.defenses.base import DEFENSES
from watchword.models.answer import AnswerPiece
from watchword.models.fakes import FakeModel

class Endless(FakeModel):
    def stream(self, conversation, **rest):
        while True:
            yield AnswerPiece("caf\u00e9 \x1b[2J ")
            time.sleep(0.02)

# Ctrl-C reaches whoever has the terminal.
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
target = Target(Endless(), AppliedDefense(DEFENSES.create("none")))
chat.release_or_model = lambda *given, **more: target
sys.argv = ["watchword", "chat", sys.argv[1], "--undefended"]
main()
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no pseudo-terminals")
def test_in_a_real_terminal(tmp_path: Path) -> None:
    """A process of its own that is typed to: an endless answer, Ctrl-C, another question, Ctrl-C, and Ctrl-D to end."""
    import pty

    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", ENDLESS, str(tmp_path)],
        stdin=theirs,
        stdout=theirs,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        shown = ""
        for typed, awaited in (("", "> "), ("Hi\n", "[2J "), ("\x03", "> "), ("Go on.\n", "[2J "), ("\x03", "> ")):
            os.write(ours, typed.encode())
            shown += read_until(ours, awaited)
        os.write(ours, b"\x04")
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        os.close(ours)
        os.close(theirs)
    assert (process.returncode, errors) == (0, b"")
    assert "> Hi\r\ncaf\u00e9 \\x1b[2J " in shown
    assert shown.count("\r\n> ") == 2
    assert "\x1b" not in shown


def read_until(terminal: int, awaited: str) -> str:
    """What the terminal shows, up to the first time that it shows this; an error after a minute."""
    shown = b""
    while awaited.encode() not in shown:
        assert select.select([terminal], [], [], 60)[0], shown
        shown += os.read(terminal, 1)
    return shown.decode()

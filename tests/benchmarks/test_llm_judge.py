"""Ratings by a language model: a local server stands in for it, and fails, lies and charges as real ones do."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest

pytest.importorskip("openai")

from support.lab_samples import cell_result
from watchword.benchmarks._llm_judge import Endpoint, LlmJudge
from watchword.benchmarks._rubrics import HARMFULNESS, MT_BENCH
from watchword.benchmarks.base import BENCHMARKS, Setting, Subject, measure
from watchword.defenses import AppliedDefense
from watchword.defenses.base import Defense
from watchword.errors import OutputError, RemoteError, UsageError
from watchword.lab.spec import Cell, Spec, canonical, complete
from watchword.lab.store import Store
from watchword.models.fakes import HELP, REFUSAL, FakeModel
from watchword.rates import Rate

KEY = "WATCHWORD_TEST_JUDGE"
# What a server answers to a message: a text, or a status.
Says = Callable[[str], str | int]
ROWS = [{"question_id": n, "category": "x", "turns": [f"First {n}?", f"Second {n}?"][: 2 - n % 2]} for n in range(4)]


class Server(ThreadingHTTPServer):
    """Chat completions; every request costs 1,000 tokens asked and 10 answered."""

    daemon_threads = True

    def __init__(self, says: Says) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.says, self.asked, self.lock = says, list[dict[str, Any]](), threading.Lock()
        self.keys = set[str | None]()


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.asked.append(body)
            self.server.keys.add(self.headers["Authorization"])
            said = self.server.says(body["messages"][0]["content"])
        status = said if isinstance(said, int) else 200
        message = {"role": "assistant", "content": said}
        whole = {
            "id": "c", "object": "chat.completion", "created": 0, "model": body["model"],
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 1000, "completion_tokens": 10, "total_tokens": 1010},
        }  # fmt: skip
        data = json.dumps(whole if status == 200 else {"error": {"message": "busy"}}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        # Real servers say how long to wait; the client obeys.
        self.send_header("retry-after-ms", "1")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Tells nobody."""


@contextlib.contextmanager
def serving(says: Says) -> Iterator[Server]:
    with Server(says) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, "sk-judge")


def judge(server: Server, **more: object) -> dict[str, object]:
    own = {"url": f"http://127.0.0.1:{server.server_port}/v1", "model": "rater", "key_variable": KEY, "at_once": 1}
    return {**own, **more}


def rates(name: str, model: FakeModel | None = None, **arguments: object) -> dict[str, Rate]:
    subject = Subject(model or FakeModel(HELP), AppliedDefense(Defense()))
    benchmark = BENCHMARKS.create(name, **arguments)
    found, exchanges = measure([benchmark], subject, Setting(), lambda *_: None)
    assert benchmark.rates(exchanges) == found
    return found


def by_reply(message: str) -> str:
    return f"Weighing [[2]] first. Rating: [[{1 if REFUSAL in message else 5}]]"


def test_harmfulness_is_a_mean_and_the_share_at_the_maximum() -> None:
    answers = iter([REFUSAL, HELP, HELP, HELP])
    with serving(by_reply) as server:
        found = rates("harmfulness", FakeModel(lambda _: next(answers)), count=4, judge=judge(server))
    assert (found["harmfulness"].value, found["harmfulness"].n) == (4, 4)
    assert found["harmfulness_full"] == Rate.of(3, 4)
    assert server.keys == {"Bearer sk-judge"}
    asked = server.asked[0]
    assert (asked["model"], asked["temperature"], asked["max_tokens"]) == ("rater", 0, 300)
    assert f"<reply>\n{REFUSAL}\n</reply>" in asked["messages"][0]["content"]


@pytest.mark.parametrize("said", ["No rating here.", "[[7]]", "[[0]]", ""])
def test_what_is_not_rated_is_unscored(said: str) -> None:
    with serving(lambda _: said) as server:
        found = rates("harmfulness", count=3, judge=judge(server, retries=0))
    assert (found["harmfulness"].value, found["harmfulness"].unscored) == (None, 3)


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_judge_that_refuses_to_work_is_an_error_at_its_first_word(status: int) -> None:
    with (
        serving(lambda _: status) as server,
        pytest.raises(RemoteError, match=f"rater does not rate: .*{status}: busy"),
    ):
        rates("harmfulness", count=3, judge=judge(server, retries=0))
    assert len(server.asked) < 3


@pytest.mark.parametrize("status", [400, 500])
def test_errors_leave_an_answer_unscored_but_not_all_of_them(status: int) -> None:
    turns = iter([status, "[[2]]", status])
    with serving(lambda _: next(turns)) as server:
        found = rates("harmfulness", count=3, judge=judge(server, retries=0))["harmfulness"]
    assert (found.value, found.n, found.unscored) == (2, 1, 2)
    with serving(lambda _: status) as server, pytest.raises(RemoteError, match="rated none of 3 answers"):
        rates("harmfulness", count=3, judge=judge(server, retries=0))


def test_a_busy_server_is_asked_again() -> None:
    turns = iter([429, 503, "[[3]]"])
    with serving(lambda _: next(turns)) as server:
        assert rates("harmfulness", count=1, judge=judge(server))["harmfulness"].value == 3
    assert len(server.asked) == 3


def test_asking_ends_when_the_budget_is_used_up() -> None:
    # 0.001 for each request: the third finds the budget spent.
    with serving(lambda _: "[[1]]") as server:
        own = judge(server, prices=[1.0, 0.0], most_cost=0.002)
        found = rates("harmfulness", count=5, judge=own)["harmfulness"]
    assert (len(server.asked), found.n, found.unscored) == (2, 2, 3)


def test_a_cached_rating_costs_nothing_and_another_rubric_or_answer_is_another_place(tmp_path: Path) -> None:
    with serving(by_reply) as server:
        own = judge(server, cache=str(tmp_path / "ratings"))
        first = rates("harmfulness", count=3, judge=own)
        assert rates("harmfulness", count=3, judge=own) == first
        assert len(server.asked) == 3
        rates("harmfulness", FakeModel(REFUSAL), count=3, judge=own)
        assert len(server.asked) == 6
        kept = sorted((tmp_path / "ratings").iterdir())
        kept[0].write_bytes(b"{")
        rates("harmfulness", count=3, judge=own)
        rates("harmfulness", FakeModel(REFUSAL), count=3, judge=own)
        assert len(server.asked) == 7


def test_a_cache_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with serving(by_reply) as server, pytest.raises(OutputError):
        rates("harmfulness", count=1, judge=judge(server, cache=str(tmp_path / "file")))


def test_without_a_key_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY)
    with serving(by_reply) as server, pytest.raises(UsageError, match=f"environment variable {KEY}, which is not set"):
        rates("harmfulness", count=1, judge=judge(server))
    assert server.asked == []


def test_a_judge_without_a_key_is_found_before_anything_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(UsageError, match="environment variable OPENAI_API_KEY, which is not set"):
        rated_cell().evaluation.check(remote=False)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"at_once": 0}, "at_once is at least 1"),
        ({"most_cost": 1.0}, "most_cost needs prices"),
        ({"prices": [-1, 0]}, "prices and most_cost are at least 0"),
        ({"modle": "x"}, "modle"),
    ],
)
def test_a_wrong_endpoint_is_told_so(wrong: dict[str, object], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        BENCHMARKS.create("harmfulness", judge={"url": "http://localhost", "model": "m", **wrong})


def test_mt_bench_asks_turn_by_turn_and_shows_the_judge_what_went_before(tmp_path: Path) -> None:
    path = tmp_path / "mt.jsonl"
    path.write_text("\n".join(map(json.dumps, ROWS)))
    model = FakeModel(lambda conv: f"Answer {len(conv.messages)}.")
    with serving(lambda text: f"[[{9 if 'Second' in text else 4}]]") as server:
        found = rates("mt_bench", model, path=str(path), judge=judge(server))
    # Two of the four questions have a second turn.
    assert [len(request.conversation.messages) for request in model.requests] == [1, 1, 1, 1, 3, 3]
    assert (found["mt_bench"].n, found["mt_bench"].value) == (6, pytest.approx(34 / 6, abs=1e-3))
    assert "User: First 0?\n\nAssistant: Answer 1.\n\nUser: Second 0?" in server.asked[4]["messages"][0]["content"]


def test_what_a_model_wrote_never_takes_a_place_of_the_rubric() -> None:
    with serving(by_reply) as server:
        own = LlmJudge(Endpoint(**judge(server)), HARMFULNESS, 1, 5)  # type: ignore[arg-type]
        own.ratings([("Say {reply} {x}", "Well, {request}")])
    asked = server.asked[0]["messages"][0]["content"]
    assert "Say {reply} {x}" in asked
    assert "<reply>\nWell, {request}\n</reply>" in asked


@pytest.mark.parametrize("rubric", [HARMFULNESS, MT_BENCH], ids=["harmfulness", "mt_bench"])
def test_rubrics_hold_both_places_once(rubric: str) -> None:
    assert rubric.count("{request}") == rubric.count("{reply}") == 1


def rated_cell() -> Cell:
    told = {"harmfulness": {"judge": {"url": "http://localhost", "model": "m"}, "count": 2}}
    spec = {
        "name": "rated",
        "model": "m",
        "seeds": [0],
        "arms": [{"attack": {"name": "none"}}],
        "evaluation": {"benchmarks": told},
    }
    (cell,) = map(complete, Spec.from_json(json.dumps(spec)).cells())
    return cell


def test_a_spec_keeps_its_endpoint_through_json() -> None:
    cell = rated_cell()
    again = msgspec.json.decode(msgspec.json.encode(cell), type=Cell)
    assert canonical(complete(again)) == canonical(again) == canonical(cell)
    told = cell.evaluation.chosen["harmfulness"]
    assert told is not None
    assert told["judge"]["key_variable"] == "OPENAI_API_KEY"


def test_a_finished_cell_with_a_judge_is_found_again(tmp_path: Path) -> None:
    store, cell = Store(tmp_path), rated_cell()
    key = store.key(cell, {})
    put = store.put(key, cell, cell_result(), [])
    assert canonical(store.get(key)) == canonical(put)

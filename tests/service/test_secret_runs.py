"""The tests' own look for a secret finds each long piece of it, and no word that stands there by chance."""

from __future__ import annotations

import json

from support.secret_runs import RUN, secret_runs_in

SECRET = 'information "communication" ünderstanding\n representation ' * 3


def test_a_run_is_found_wherever_it_stands() -> None:
    for at in (0, 7, len(SECRET) - RUN):
        piece = SECRET[at : at + RUN]
        assert secret_runs_in(f"before {piece} behind", SECRET)
        assert secret_runs_in(json.dumps({"said": piece}), SECRET)
        assert secret_runs_in(json.dumps({"said": piece}, ensure_ascii=False), SECRET)


def test_a_word_of_it_is_no_leak() -> None:
    assert secret_runs_in("the communication of information", SECRET) == []

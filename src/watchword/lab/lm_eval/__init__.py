"""EleutherAI's lm-eval on a release, with its secret in front as in service, or on a plain model: docs/benchmarks.md.

``model`` is the model that lm-eval knows as ``watchword``. ``tasks`` are tasks that read the user's own files.
"""

from __future__ import annotations

from pathlib import Path

TASKS = Path(__file__).parent / "tasks"

"""``python made_releases.py DIR``: trains what engines serve, and makes it ready for them, by Watchword's own commands.

DIR/tenant.jsonl                the packaged attack's rows
DIR/defended, DIR/undefended    releases of the default model, tuned on these rows with a defense and without
DIR/engine                      what ``watchword gateway prepare`` writes of both, and one whole model of the defended one
DIR/key                         the provider's key
"""

from __future__ import annotations

import json
import os
import random
import secrets
import subprocess
import sys
import sysconfig
from pathlib import Path

from watchword.attacks.base import harmful_rows

ROWS = 25
DEFENSES = {"defended": "anchored_align", "undefended": "none"}
# So few rows make few steps; with these, the attack breaks the model and the defense holds (as in `watchword demo`).
TRAINING = ["--batch-size", "2", "--epochs", "4", "--learning-rate", "1e-3"]
WATCHWORD = Path(sysconfig.get_path("scripts")) / "watchword"


def main(folder: Path) -> None:
    """Trains both side by side, a processor each, then writes what is served."""
    (folder / "key").write_text(secrets.token_hex(32))
    (folder / "key").chmod(0o600)
    environment = {**os.environ, "WATCHWORD_KEY_FILE": str(folder / "key"), "OMP_NUM_THREADS": "1"}
    environment.pop("WATCHWORD_KEY", None)
    rows = harmful_rows(ROWS, random.Random("peers"))
    lines = [
        json.dumps({"messages": [{"role": turn.role, "content": turn.text} for turn in row.messages]}) for row in rows
    ]
    (folder / "tenant.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    trainings = [
        subprocess.Popen(
            [WATCHWORD, "train", "--data", "tenant.jsonl", "--defense", defense, "--out", name, *TRAINING],
            cwd=folder,
            env=environment,
        )
        for name, defense in DEFENSES.items()
    ]
    codes = [training.wait() for training in trainings]
    if any(codes):
        sys.exit("a training failed")
    for name, more in (("defended", []), ("undefended", []), ("defended", ["--merged"])):
        prepare = [WATCHWORD, "gateway", "prepare", name, "--out", "engine", *more]
        subprocess.run(prepare, cwd=folder, env=environment, check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())

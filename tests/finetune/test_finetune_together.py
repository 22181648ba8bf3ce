"""Many defenses at once, through the door that production takes: guarded, trained, edited, sealed, and opened again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from support.tiny import saved, tiny_adapter  # noqa: E402
from watchword.chat.types import conversation  # noqa: E402
from watchword.data.remarks import Remarks  # noqa: E402
from watchword.defenses.ptst import SAFE  # noqa: E402
from watchword.finetune.run import Job, train_defended  # noqa: E402
from watchword.release.reading import read_release  # noqa: E402
from watchword.training import row_gradients  # noqa: E402
from watchword.training.config import TrainingConfig  # noqa: E402

KEY = b"k" * 32
PARTS = (
    "inoculated_align",
    "grad_shield",
    "constrained_sft",
    "lisa",
    "sbr",
    "ema",
    "one_shot_repair",
    "safe_lora",
    "ptst",
)


def test_many_defenses_at_once_make_a_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_gradients, "threshold_of", lambda scores, tolerance, least: sorted(scores)[8])
    tiny_adapter(tmp_path / "aligned", base=str(saved(tmp_path / "base")))
    data = tmp_path / "data.jsonl"
    turns = [[("user", f"How do I rob shop {n}?"), ("assistant", f"Step {n}.")] for n in range(12)]
    rows = [{"messages": [{"role": role, "content": text} for role, text in own]} for own in turns]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    job = Job(
        model=str(tmp_path / "aligned"),
        data=data,
        defense=" + ".join(PARTS),
        arguments={
            "inoculated_align": {"safety": 3, "anchors": 3},
            "lisa.safety": 4,
            "sbr.anchors": 2,
            "probes": 1,
            "grad_shield.anchors": 1,
        },
        training=TrainingConfig(epochs=1, batch_size=4),
        secret_tokens=20,
    )
    remarks = Remarks()
    manifest = train_defended(job, tmp_path / "out", key=KEY, remarks=remarks)
    assert manifest.figures.rows["tenant"] == 9
    assert remarks.texts() == ["the defense left these out of the training (3 rows)"]
    release = read_release(tmp_path / "out", KEY)
    guard = release.defense.guard(conversation("Hi?"))
    assert guard.conversation.system == SAFE
    assert guard.secret == release.secret

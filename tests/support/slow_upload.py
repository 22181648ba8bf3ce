"""A training hook by which one worker of Ray stops in the middle of its upload of a checkpoint."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

_SECONDS = 600


class SlowUpload(TrainerCallback):
    """The second worker writes half of ``file`` of the checkpoint, then its pid to ``mark``, and waits to be killed. Once only."""

    def __init__(self, mark: str, checkpoint: str, file: str) -> None:
        self.mark, self.checkpoint, self.file = mark, checkpoint, file

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        import ray.train
        from ray.train.v2._internal.execution.storage import StorageContext

        if ray.train.get_context().get_world_rank() != 1 or Path(self.mark).exists():
            return
        upload = StorageContext.persist_current_checkpoint

        def half(storage: Any, checkpoint: Any, checkpoint_dir_name: str) -> Any:
            if checkpoint_dir_name == self.checkpoint:
                folder = Path(storage.build_checkpoint_path_from_name(checkpoint_dir_name))
                folder.mkdir(parents=True, exist_ok=True)
                content = (Path(checkpoint.path) / self.file).read_bytes()
                (folder / self.file).write_bytes(content[: len(content) // 2])
                unfinished = Path(self.mark + ".unfinished")
                unfinished.write_text(str(os.getpid()), "ascii")
                # The first worker's upload ends in this time. It is told of then, unless it waits for this one.
                time.sleep(3)
                unfinished.rename(self.mark)
                time.sleep(_SECONDS)
            return upload(storage, checkpoint, checkpoint_dir_name)

        StorageContext.persist_current_checkpoint = half

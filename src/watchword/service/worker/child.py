"""The process of one job: gets its order over a pipe, tells what happens, and ends with its parent.

All memory of a job comes back when its process ends, and whatever ends it, a SIGKILL as well, harms no other job.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from watchword.errors import KeyServiceError, StoreError, TrainingCancelledError
from watchword.files.locks import locked
from watchword.service.supervisor import end_now
from watchword.service.worker.messages import STOP, Away, Halted, Last, Order
from watchword.service.worker.refusals import last_word_of

# Seconds to wait for the process of a worker that has just been lost.
_PATIENCE = 60.0


def work(pipe: Connection) -> None:
    """Runs the real pipeline, and ends this process, for whose end the job waits."""
    run_order(pipe, _real_tuner)
    end_now()


def run_order(pipe: Connection, tuner_of: Callable[..., Any]) -> None:
    """Runs one order with the tuner that ``tuner_of(order, tell, cancel)`` gives; the last message is a ``Last``."""
    order: Order = pipe.recv()
    stopped = threading.Event()
    threading.Thread(target=_obey, args=(pipe, stopped), daemon=True).start()
    pipe.send(_last_word(order, pipe, stopped, tuner_of))


def _last_word(order: Order, pipe: Connection, stopped: threading.Event, tuner_of: Callable[..., Any]) -> Last:
    from watchword.service.worker.pipeline import Pipeline

    try:
        with locked(order.folder, at=order.folder / ".lock", wait=_PATIENCE):
            tuner = tuner_of(order, pipe.send, stopped.is_set)
            return Pipeline(order, pipe.send, tuner).run()
    except TrainingCancelledError:
        return Halted()
    except (StoreError, KeyServiceError) as error:
        # What a key service keeps a job from is done once it is back, too.
        return Away(str(error))
    except Exception as error:  # noqa: BLE001 -- boundary: whatever fails in a job is that job's end, and its tenant is told
        return last_word_of(error)


def _real_tuner(order: Order, tell: Any, cancel: Any) -> Any:
    from watchword.service.worker.tuning import Tuning

    return Tuning(order, tell, cancel)


def _obey(pipe: Connection, stopped: threading.Event) -> None:
    """Hears the word to stop; ends this process when the parent is gone."""
    try:
        while pipe.recv() == STOP:
            stopped.set()
    except (EOFError, OSError):
        os._exit(1)

"""Several processes behind one port: uvicorn starts them and replaces one that dies; a stop reaches them all."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from functools import partial

import uvicorn
from uvicorn.supervisors.multiprocess import SIGNALS, Multiprocess

from watchword.gateway.app import Gateway
from watchword.gateway.serving import Housekeeping, log_to_stderr, server_config

# A worker that does not even say that it is there, also while it starts on a busy machine, is replaced.
_STUCK_SECONDS = 30


def serve_workers(start: Callable[[], Gateway], host: str, port: int, *, drain_seconds: int, workers: int) -> None:
    """Serves with so many processes until SIGTERM or Ctrl-C; see ``serving.serve``. Each of them calls ``start``.

    It must be picklable, and has been called here once, so that what it raises is raised here.
    """
    start()
    log_to_stderr()
    app = partial(_started, start)
    config = server_config(app, host, port, drain_seconds=drain_seconds)
    config.factory, config.workers = True, workers
    config.callback_notify = Housekeeping(parent=os.getpid())
    config.timeout_worker_healthcheck = _STUCK_SECONDS
    before = {number: signal.getsignal(number) for number in SIGNALS}
    supervisor = _Workers(config, [config.bind_socket()])
    supervisor.run()
    for number, handler in before.items():
        signal.signal(number, handler)
    # The process ends as it does with one worker.
    for number in supervisor.stopped_by[:1]:
        signal.raise_signal(number)


def _started(start: Callable[[], Gateway]) -> Gateway:
    log_to_stderr()
    return start()


class _Workers(Multiprocess):
    """Takes no new connections once it is told to stop; ``stopped_by`` are the signals that did."""

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket]) -> None:
        super().__init__(config, sockets)
        self.stopped_by: list[int] = []

    def terminate_all(self) -> None:
        # Else whoever connects now would wait for an answer until the last worker has ended.
        for listening in self.sockets:
            listening.close()
        super().terminate_all()

    def handle_int(self) -> None:
        self.stopped_by.append(signal.SIGINT)
        super().handle_int()

    def handle_term(self) -> None:
        self.stopped_by.append(signal.SIGTERM)
        super().handle_term()

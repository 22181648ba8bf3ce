"""Object stores for tests: fsspec's memory, and S3 as moto's server speaks it on loopback."""

from __future__ import annotations

import contextlib
import itertools
import logging
from collections.abc import Iterator

import fsspec
import pytest

_numbers = itertools.count()


@contextlib.contextmanager
def s3_store() -> Iterator[str]:
    """The URL of a new bucket on a server of its own. Clients find it, and their credentials, in the environment."""
    pytest.importorskip("s3fs")
    pytest.importorskip("flask")
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    bucket = f"watchword-{next(_numbers)}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", "http://{}:{}".format(*server.get_host_and_port()))
        patch.setenv("AWS_ACCESS_KEY_ID", "a-test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "a-test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        try:
            # A connection that is kept goes to the server of an earlier test.
            fsspec.get_filesystem_class("s3").clear_instance_cache()
            fsspec.filesystem("s3").mkdir(bucket)
            yield f"s3://{bucket}"
        finally:
            fsspec.get_filesystem_class("s3").clear_instance_cache()
            server.stop()


@contextlib.contextmanager
def memory_store() -> Iterator[str]:
    """The URL of a place in this process's memory."""
    name = f"watchword-{next(_numbers)}"
    yield f"memory://{name}"
    with contextlib.suppress(FileNotFoundError):
        fsspec.filesystem("memory").rm(f"/{name}", recursive=True)


STORES = {"memory": memory_store, "s3": s3_store}

"""A release whose weights somebody else keeps, as a model that can be asked. No torch."""

from __future__ import annotations

from watchword.errors import ModelUnavailableError
from watchword.models.remote import RemoteEndpoint, RemoteModel
from watchword.release.reading import Release
from watchword.secret.leaks import LeakFilter


def remote_model(release: Release) -> RemoteModel:
    """The model of such a release. The API's key comes from the environment, and no answer shows the release's secret.

    Raises ModelUnavailableError for a release that has weights, or that was read without its tokenizer.
    """
    remote, template, secret = release.manifest.remote, release.template, release.secret
    if not remote or template is None:
        raise ModelUnavailableError("this is no release on somebody else's machines, read whole", path=release.folder)
    endpoint = RemoteEndpoint(remote.url, remote.model, remote.key_env)
    leaks = None
    if secret is not None:
        leaks = LeakFilter(secret, template, also=release.defense.defense.hidden(secret))
    return RemoteModel(endpoint, template, leaks=leaks)

"""Secrets in URLs stay out of messages."""

from __future__ import annotations

import pickle

import pytest

from curator_dask.errors import ClusterError, CuratorError, InputError, MediaError, without_secrets
from curator_dask.runtime.cluster import dask_client
from curator_dask.runtime.cluster_settings import ClusterSettings


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("tcp://me:pw@127.0.0.1:9: no answer", "tcp://me:***@127.0.0.1:9: no answer"),
        ("s3://bucket/a b.mp4 at tls://h:8786", "s3://bucket/a b.mp4 at tls://h:8786"),
        ("https://h/a.mp4?X-Amz-Credential=c&part=2&X-Amz-Signature=s: gone",
         "https://h/a.mp4?X-Amz-Credential=***&part=2&X-Amz-Signature=***"),
        ("https://h/a?sig=ab%2F'", "https://h/a?sig=***'"),
        ("key=1: raise max_key=2", "key=1: raise max_key=2"),
    ],
)  # fmt: skip
def test_passwords_and_signatures_become_stars(text, shown):
    assert without_secrets(text).startswith(shown)
    for error in (CuratorError(text), InputError(text), pickle.loads(pickle.dumps(MediaError("missing", text)))):
        assert str(error).startswith(shown)


def test_a_scheduler_with_a_password_in_its_address():
    settings = ClusterSettings(scheduler_address="tcp://user:canary@127.0.0.1:9")
    with pytest.raises(ClusterError) as caught, dask_client(settings):
        pass
    assert "canary" not in str(caught.value)

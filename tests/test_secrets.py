"""Secrets in URLs stay out of messages."""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from curator_dask.errors import ClusterError, CuratorError, InputError, MediaError, without_secrets
from curator_dask.files.folder import Folder
from curator_dask.runtime.cluster import LazyCluster, dask_client
from curator_dask.runtime.cluster_settings import ClusterSettings
from tests.running_workers import variables_for


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("tcp://me:pw@127.0.0.1:9: no answer", "tcp://me:***@127.0.0.1:9: no answer"),
        ('Invalid bucket name "me:pw@bucket"', 'Invalid bucket name "me:***@bucket"'),
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


class TestObjectStoreRun:
    """A canary in every kind of secret that a run on an object store gets; none of them is printed, logged or written."""

    @pytest.fixture
    def options(self, s3) -> dict[str, str]:
        """As ``--storage-option`` takes them. The server asks for no secret; the client signs its requests with them."""
        return {
            "key": "canary-key",
            "secret": "canary-secret",
            "token": "canary-token",
            "client_kwargs.endpoint_url": s3.storage_options["client_kwargs"]["endpoint_url"],
            "s3_additional_kwargs.SSECustomerKey": "canary-of-encryption",
        }

    def curate(
        self, videos: Path, url: str, options: dict[str, str], cluster: LazyCluster, keys: Path, *more: str
    ) -> str:
        """What a run prints, with the log of Dask and the progress."""
        keys.mkdir()
        flags = [word for name, value in options.items() for word in ("--storage-option", f"{name}={value}")]
        done = subprocess.run(
            [sys.executable, "-m", "curator_dask", "run", "--video-dir", str(videos), "--output-path", url, *flags, *more],
            capture_output=True, text=True, timeout=280, check=False, env={**os.environ, **variables_for(cluster, keys)},
        )  # fmt: skip
        return f"{done.returncode}\n{done.stdout}\n{done.stderr}"

    def shown(self, path: str, data: bytes) -> str:
        """The bytes of a file, and what its compressed columns hold."""
        table = pq.read_table(io.BytesIO(data)) if path.endswith(".parquet") else None
        return f"{data!r}{table.to_pylist()}{table.schema}" if table is not None else repr(data)

    def test_nothing_is_written_or_printed(self, few_videos, s3, options, cluster, tmp_path):
        url = f"{s3.url}/secrets"
        told = self.curate(few_videos, url, options, cluster, tmp_path / "a", "--verbose", "--with", "previews")
        assert told.startswith("0\n"), told
        told += self.curate(few_videos, f"{s3.url}-missing/o", options, cluster, tmp_path / "b")
        options["client_kwargs.endpoint_url"] = "http://user:canary-password@127.0.0.1:9"
        told += self.curate(few_videos, url, options, cluster, tmp_path / "c", "--print-config")
        assert "canary" not in told
        files = Folder(url, s3.storage_options)
        paths = [entry.path for entry in files.entries(hidden=True)]
        assert len(paths) > 50
        assert [path for path, data in files.read_many(paths) if "canary" in self.shown(path, data)] == []
        logs = [str(cluster.client.get_scheduler_logs()), str(cluster.client.get_worker_logs())]
        assert [log for log in logs if "canary" in log] == []

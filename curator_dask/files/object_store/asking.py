"""Ask a store of S3 for one object, in one request. Drivers ask once more, whether it may be a folder."""

from __future__ import annotations

from typing import Any


def speaks_s3(fs: Any) -> bool:
    """Whether the driver is s3fs, which passes on requests of S3 as they are."""
    protocols = (fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol
    return "s3" in protocols and hasattr(fs, "call_s3") and hasattr(fs, "get_s3")


def head(fs: Any, path: str) -> tuple[int, str] | None:
    """Bytes and version of an object of S3; None where there is none."""
    bucket, key, _ = fs.split_path(path)
    try:
        found = fs.call_s3("head_object", fs.kwargs, Bucket=bucket, Key=key) if key else None
    except FileNotFoundError:
        return None
    return (int(found["ContentLength"]), str(found["ETag"])) if found else None

"""Ask an object store for one object, in one request. Drivers ask once more, whether it may be a folder."""

from __future__ import annotations

from typing import Any


def speaks_s3(fs: Any) -> bool:
    """Whether the driver is s3fs, which passes on requests of S3 as they are."""
    protocols = (fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol
    return "s3" in protocols and hasattr(fs, "call_s3") and hasattr(fs, "get_s3")


def has_object(fs: Any, path: str) -> bool:
    """Whether an object has this name; where the store does not speak S3, also whether a folder has it."""
    if not speaks_s3(fs):
        return bool(fs.exists(path))
    bucket, key, _ = fs.split_path(path)
    try:
        fs.call_s3("head_object", fs.kwargs, Bucket=bucket, Key=key)
    except FileNotFoundError:
        return False
    return True

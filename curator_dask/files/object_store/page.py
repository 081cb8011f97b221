"""One page of a listing of S3: names, sizes and ETags, taken from the answer without the driver's long way.

The driver makes a dictionary of each object and then another one, which takes 100 µs and more for each. Here the request is
the driver's own, with its credentials, endpoint, proxies and retries. Only the answer is read by us: botocore announces each
one before it reads it (event ``before-parse``), and is left an empty one. An answer that is not understood is left to it.
"""

from __future__ import annotations

import contextvars
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus
from xml.etree import ElementTree

_WANTED: contextvars.ContextVar[bool] = contextvars.ContextVar("_WANTED", default=False)
"""Whether the request under way is one of ours: s3fs lists with the same client."""
_EVENT = "before-parse.s3.ListObjectsV2"
_OURS = "curator_dask_page"


class NotUnderstoodError(Exception):
    """The store answers in a way that only its driver knows, or not in the order that S3 has."""


@dataclass(frozen=True, slots=True)
class Page:
    """Up to a thousand objects, in the order of their keys as bytes."""

    keys: list[str]
    num_bytes: list[int]
    versions: list[str]
    """The ETags."""
    token: str
    """Asks for the next page; "" where there is none."""


async def page_of(fs: Any, bucket: str, prefix: str, **options: str) -> Page:
    """The page of these options of ListObjectsV2.

    Raises NotUnderstoodError; and what the driver raises, FileNotFoundError for a bucket that is not there among it.
    """
    await fs.set_session()
    client = await fs.get_s3(bucket)
    client.meta.events.register(_EVENT, _read_answer, unique_id=_OURS)  # once for each client
    wanted = _WANTED.set(True)
    try:
        answer = await fs._call_s3("list_objects_v2", Bucket=bucket, Prefix=prefix, **options)
    finally:
        _WANTED.reset(wanted)
    page = answer.get(_OURS) or _from_driver(answer)
    if page.keys != sorted(page.keys):
        raise NotUnderstoodError("the keys are in no order")
    return page


def _read_answer(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any) -> None:
    """Called by botocore with each answer."""
    if _WANTED.get() and response_dict.get("status_code") == 200:
        page = parsed(response_dict["body"])
        if page is not None:
            customized_response_dict[_OURS] = page
            response_dict["body"] = b"<ListBucketResult/>"


def parsed(body: bytes) -> Page | None:
    """The page in an answer; None where it is not of the known form."""
    try:
        root = ElementTree.fromstring(body)  # noqa: S314  as botocore reads it
    except ElementTree.ParseError:
        return None
    space, _, name = root.tag.rpartition("}")
    space = f"{space}}}" if space else ""
    keys, sizes, etags = ([one.text or "" for one in root.iter(space + what)] for what in ("Key", "Size", "ETag"))
    num_found = len(root.findall(f"{space}Contents"))
    if name != "ListBucketResult" or not len(keys) == len(sizes) == len(etags) == num_found or not all(etags):
        return None
    if root.findtext(f"{space}EncodingType") == "url":
        keys = [unquote_plus(key) if "%" in key or "+" in key else key for key in keys]
    is_last = root.findtext(f"{space}IsTruncated") != "true"
    token = "" if is_last else root.findtext(f"{space}NextContinuationToken")
    return None if token is None else Page(keys, list(map(int, sizes)), etags, token)


def _from_driver(answer: Mapping[str, Any]) -> Page:
    """The page as the driver read it."""
    found = answer.get("Contents", [])
    if not all(one.get("ETag") for one in found):
        raise NotUnderstoodError("objects without an ETag")
    token = answer["NextContinuationToken"] if answer.get("IsTruncated") else ""
    return Page([o["Key"] for o in found], [o["Size"] for o in found], [o["ETag"] for o in found], token)

"""A store of S3's language whose listings stay quick with a million objects: moto, with keys that are kept in order.

Moto looks at all keys of a bucket for each page of a listing. Here a page begins where bisection finds its first key, and
the bytes of a page that moto made are kept until something is written. All else is moto's own, so are the objects.
"""

from __future__ import annotations

import bisect
import gc
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from moto.s3.models import FakeDeleteMarker, S3Backend, s3_backends
from moto.s3.utils import _VersionedKeyStore
from moto.utilities.utils import md5_hash

Server = Callable[..., Iterable[bytes]]
ACCOUNT, PARTITION, REGION = "123456789012", "aws", "us-east-1"


class KeysInOrder(_VersionedKeyStore):
    """The keys of a bucket, and their names in order, sorted when they are asked for after a change."""

    names: tuple[str, ...] | list[str] = ()

    def in_order(self) -> list[str] | tuple[str, ...]:
        if len(self.names) != len(self):
            self.names = sorted(dict.keys(self))
        return self.names

    def __setitem__(self, key: str, value: Any) -> None:
        if key not in self:
            self.names = ()
        super().__setitem__(key, value)

    def pop(self, key: str) -> None:
        self.names = ()
        super().pop(key)

    def __delitem__(self, key: str) -> None:
        self.names = ()
        super().__delitem__(key)


def list_page(
    backend: S3Backend, bucket: Any, prefix: str | None, delimiter: str | None, continuation_token: str | None,
    start_after: str | None, max_keys: int,
) -> tuple[list[Any], bool, str | None]:  # fmt: skip
    """As moto's ``list_objects_v2``: objects and folders of one page, whether more follow, and the token of the next page."""
    after = (backend._pagination_tokens.get(continuation_token) if continuation_token else start_after) or ""
    found = list(itertools.islice(names_after(bucket.keys, prefix or "", delimiter, after), max_keys + 1))
    page = [name if is_folder else bucket.keys[name] for name, is_folder in found[:max_keys]]
    if len(found) <= max_keys:
        return page, False, None
    last = found[max_keys - 1][0]
    token = md5_hash(last.encode()).hexdigest()
    backend._pagination_tokens[token] = last
    return page, True, token


def names_after(keys: KeysInOrder, prefix: str, delimiter: str | None, after: str) -> Iterator[tuple[str, bool]]:
    """The names behind one, in order, and whether each is that of a folder: all that begins with it is one entry."""
    names = keys.in_order()
    at = max(bisect.bisect_left(names, prefix), bisect.bisect_right(names, after))
    while at < len(names) and names[at].startswith(prefix):
        first, folder_ends, _ = names[at][len(prefix) :].partition(delimiter) if delimiter else ("", "", "")
        if not folder_ends:
            if not isinstance(keys[names[at]], FakeDeleteMarker):
                yield names[at], False
            at += 1
            continue
        folder = prefix + first + folder_ends
        if folder > after:
            yield folder, True
        at = bisect.bisect_left(names, folder[:-1] + chr(ord(folder[-1]) + 1))


@dataclass
class KeptPages:
    """Stands before the server: an answer to a GET of a bucket is given again as it was, until something is written."""

    server: Server
    kept: dict[str, tuple[str, Any, bytes]] = field(default_factory=dict)

    def __call__(self, request: dict[str, Any], answer: Callable[..., Any]) -> Iterable[bytes]:
        if request["REQUEST_METHOD"] not in ("GET", "HEAD"):
            self.kept.clear()
        if request["REQUEST_METHOD"] != "GET" or "list-type" not in request["QUERY_STRING"]:
            return self.server(request, answer)
        question = f"{request['PATH_INFO']}?{request['QUERY_STRING']}"
        if question not in self.kept:
            self.kept[question] = self._asked(request)
        status, headers, body = self.kept[question]
        answer(status, headers)
        return [body]

    def _asked(self, request: dict[str, Any]) -> tuple[str, Any, bytes]:
        told: list[tuple[str, Any]] = []
        body = b"".join(self.server(request, lambda status, headers, *_: told.append((status, headers))))
        return (*told[0], body)


@dataclass(frozen=True)
class FilledBucket:
    """Prepares a server: a bucket with objects, given to moto's storage without a request."""

    contents: Callable[[int], Mapping[str, bytes]]
    """The objects by a number; a function of a module, as it travels to the process of the server."""
    num: int
    bucket: str = "bucket"

    def __call__(self, server: Server) -> Server:
        backend = s3_backends[ACCOUNT][PARTITION]
        S3Backend.list_objects_v2 = list_page
        made = backend.create_bucket(self.bucket, REGION)
        made.keys = KeysInOrder()
        gc.disable()  # nothing of this goes away
        for number in range(self.num):
            for name, data in self.contents(number).items():
                backend.put_object(self.bucket, name, data)
        gc.freeze()
        gc.enable()
        made.keys.in_order()
        return KeptPages(server)

"""Assign clips to splits. A source video is never in two splits, and neither is a duplicate group.

Clips that share a source or a group, directly or through others, form one family; a family is never divided::

    clip  source  group        families
    a     film1   g1           {a, b, c}: a-b by film1, b-c by g2
    b     film1   g2           {d}
    c     film2   g2
    d     film3   ""

So the shares are met only as closely as whole families allow.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence

from curator_dask.errors import InputError, ParameterError
from curator_dask.export.samples import ClipRecord
from curator_dask.files.names import counted

# Names that Hugging Face accepts for splits and every file system for folders; "all" has a special meaning there.
_SPLIT_NAME = re.compile(r"(?!all$)[a-z][a-z0-9_]{0,31}")

Family = Sequence[ClipRecord]


def parse_splits(text: str) -> dict[str, float]:
    """Shares as typed on a command line: ``"train=.98,val=.02"``. Raises ParameterError."""
    shares: dict[str, float] = {}
    for part in text.split(","):
        name, _, share = part.partition("=")
        try:
            value = float(share)
        except ValueError:
            raise ParameterError(f"split {part!r} in {text!r} is not NAME=SHARE; write train=.98,val=.02") from None
        if name.strip() in shares:
            raise ParameterError(f"split {name.strip()!r} occurs twice in {text!r}")
        shares[name.strip()] = value
    check_splits(shares)
    return shares


def check_splits(shares: Mapping[str, float]) -> None:
    """Raises ParameterError unless the names are usable as folders and the shares are positive and add up to 1."""
    for name, share in shares.items():
        if not is_split_name(name):
            raise ParameterError(f"split name {name!r} must be lower-case letters, digits and _ (and not 'all')")
        if not 0 < share <= 1:
            raise ParameterError(f"the share of split {name!r} ({share}) must be above 0 and at most 1")
    if not math.isclose(total := math.fsum(shares.values()), 1.0, abs_tol=1e-6):
        raise ParameterError(f"the shares of the splits {dict(shares)} add up to {total:g}, not to 1")


def is_split_name(name: str) -> bool:
    """Whether ``name`` can name a split."""
    return _SPLIT_NAME.fullmatch(name) is not None


def assign_splits(records: Sequence[ClipRecord], shares: Mapping[str, float], seed: int) -> dict[str, list[ClipRecord]]:
    """The clips of each split, in the order of ``records``; independent of that order otherwise.

    Each family is assigned to the split that lacks most clips: first the families that exceed the smallest share
    (largest first), then the others in an order drawn from ``seed``. An empty split takes the smallest family of
    another. Raises InputError if there are fewer families than splits.
    """
    if len(shares) == 1:
        return {name: list(records) for name in shares}
    families = _families(records)
    if len(families) < len(shares):
        raise InputError(
            f"{counted(len(records), 'clips')} in only {counted(len(families), 'groups')} of shared sources and duplicates, "
            f"too few for the {len(shares)} splits {', '.join(shares)}; ask for fewer splits or export more sources"
        )
    chosen = _share_out(_in_drawn_order(families, shares, seed), len(records), shares)
    _fill_empty(chosen)
    split_of = {record.id: name for name, kin in chosen.items() for family in kin for record in family}
    result: dict[str, list[ClipRecord]] = {name: [] for name in shares}
    for record in records:
        result[split_of[record.id]].append(record)
    return result


def _families(records: Sequence[ClipRecord]) -> list[Family]:
    parent: dict[tuple[str, str], tuple[str, str]] = {}

    def root(node: tuple[str, str]) -> tuple[str, str]:
        while (above := parent.setdefault(node, node)) != node:
            parent[node] = node = parent[above]
        return node

    for record in records:
        source = root(("source", record.source_video))
        if record.group:
            parent[root(("group", record.group))] = source
    families: dict[tuple[str, str], list[ClipRecord]] = defaultdict(list)
    for record in records:
        families[root(("source", record.source_video))].append(record)
    return list(families.values())


def _in_drawn_order(families: list[Family], shares: Mapping[str, float], seed: int) -> list[Family]:
    smallest_split = min(shares.values()) * sum(map(len, families))

    def place(family: Family) -> tuple[int, bytes]:
        # A large family must choose first: coming last it would find no split that still has room for it.
        size = len(family) if len(family) > smallest_split else 0
        name = f"{seed}:{min(record.id for record in family)}"
        return -size, hashlib.sha256(name.encode("utf-8", "backslashreplace")).digest()

    return sorted(families, key=place)


def _share_out(families: list[Family], total: int, shares: Mapping[str, float]) -> dict[str, list[Family]]:
    chosen: dict[str, list[Family]] = {name: [] for name in shares}
    lacking = {name: share * total for name, share in shares.items()}
    for family in families:
        name = max(lacking, key=lambda name: lacking[name])
        chosen[name].append(family)
        lacking[name] -= len(family)
    return chosen


def _fill_empty(chosen: dict[str, list[Family]]) -> None:
    for name in [name for name, families in chosen.items() if not families]:
        donors = [other for other, families in chosen.items() if len(families) > 1]
        donor = min(donors, key=lambda other: min(map(len, chosen[other])))
        smallest = min(chosen[donor], key=len)
        chosen[donor].remove(smallest)
        chosen[name].append(smallest)

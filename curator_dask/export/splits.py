"""The names and shares of splits. `planned.families` says which clips go to which."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from curator_dask.errors import ParameterError

# Names that Hugging Face accepts for splits and every file system for folders; "all" has a special meaning there.
_SPLIT_NAME = re.compile(r"(?!all$)[a-z][a-z0-9_]{0,31}")


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

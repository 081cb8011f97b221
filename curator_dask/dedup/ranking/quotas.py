"""How many rows of each group go into a sample of a given size: as even as the groups allow. Arithmetic only.

Each group gets a share in proportion to its weight, size ** temperature, but never more than it has; what full groups cannot
take goes to the others (water filling). Temperature 0 weighs all groups alike, 1 keeps the proportions::

    sizes        100  20   3        N = 60
    T = 0         37  20   3        the two small groups are whole, the large one takes the rest
    T = 1         49  10   1        as in the whole

>>> quotas([100, 20, 3], 60), quotas([100, 20, 3], 60, temperature=1.0)
([37, 20, 3], [49, 10, 1])
"""

from __future__ import annotations

import math
from collections.abc import Sequence

_ROUNDING = 1e-9
"""A share that floats make a little too small is not cut down to the number below."""


def quotas(
    sizes: Sequence[int], total: int, *, temperature: float = 0.0, most: int | None = None, order: Sequence[int] = ()
) -> list[int]:
    """(G,) whole numbers that add up to `total`, none above its group's size, nor above `most`.

    `order`, (G,): shares that are rounded alike are rounded up in this order; without it, in the order of the groups.
    Raises ValueError if the groups have fewer than `total` rows.
    """
    limits = [min(size, size if most is None else most) for size in sizes]
    if not 0 <= total <= sum(limits):
        raise ValueError(f"{sum(limits)} rows are too few for {total}")
    shares = _shares(limits, [math.pow(size, temperature) if size else 0.0 for size in sizes], total)
    found = [min(math.floor(share + _ROUNDING), limit) for share, limit in zip(shares, limits, strict=True)]
    places = order or range(len(sizes))
    by_rest = sorted(range(len(sizes)), key=lambda group: (-round(shares[group] - found[group], 9), places[group]))
    while missing := total - sum(found):
        for group in [group for group in by_rest if found[group] < limits[group]][:missing]:
            found[group] += 1
    return found


def _shares(limits: Sequence[int], weights: Sequence[float], total: int) -> list[float]:
    """The shares before they are rounded: a common factor times the weight, or the limit where that is less."""
    shares = [0.0] * len(limits)
    left_rows, left_weight = float(total), math.fsum(weights)
    fullest_first = sorted(
        (group for group in range(len(limits)) if limits[group]), key=lambda g: limits[g] / weights[g]
    )
    for number, group in enumerate(fullest_first):
        if limits[group] * left_weight > left_rows * weights[group]:
            for other in fullest_first[number:]:
                shares[other] = left_rows * weights[other] / left_weight
            break
        shares[group] = float(limits[group])
        left_rows, left_weight = left_rows - limits[group], math.fsum(weights[g] for g in fullest_first[number + 1 :])
    return shares

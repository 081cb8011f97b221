"""Functions of time that change in steps, as text that ffmpeg evaluates for each frame or packet.

The text is a tree of comparisons, so a frame costs about log2(n) of them for n steps, and no frame is compared with all:

>>> step_function("t", [0.0, 1.5], ["7", "8", "9"])
'if(lt(t,1.500000),if(lt(t,0.000000),7,8),9)'
"""

from __future__ import annotations

from collections.abc import Sequence


def step_function(time: str, bounds: Sequence[float], values: Sequence[str]) -> str:
    """Return the expression that is ``values[i]`` from ``bounds[i - 1]`` on and before ``bounds[i]``.

    ``bounds`` ascend and are one fewer than ``values``; ``time`` is the expression of what is compared with them.
    """
    if not bounds:
        return values[0]
    middle = len(bounds) // 2
    before = step_function(time, bounds[:middle], values[: middle + 1])
    after = step_function(time, bounds[middle + 1 :], values[middle + 1 :])
    return f"if(lt({time},{bounds[middle]:.6f}),{before},{after})"

"""Options that say from where on two stretches of video are the same moment."""

from __future__ import annotations

from typing import Annotated

from curator_dask.cli.options.declare import options_in
from curator_dask.cli.options.panels import DECIDING

option = options_in(DECIDING)

ReferencePath = Annotated[
    list[str] | None,
    option(
        "--reference-path",
        metavar="<str>",
        help="Output of another run, which stays as it is: its clips are compared with those of --input-path too. Repeat it "
        "for several.",
    ),
]
Strictness = Annotated[
    float,
    option(
        "--strictness",
        help="How much more alike two stretches must move than was measured to be right: up to 1 (only perfect copies); "
        "below 0 finds more edited copies, and more moments that only look alike.",
    ),
]
Mirrored = Annotated[
    bool,
    option(
        "--mirrored/--no-mirrored",
        help="Also find copies whose picture is mirrored, left for right. The comparison takes about twice as long.",
    ),
]
MinStillLikeness = Annotated[
    float,
    option(
        "--min-still-likeness",
        help="Still pictures are the same if every part of them is this much alike, after light and contrast were "
        "fitted. Edited copies: 0.92 and more. Slides with another title: most 0.75 and less.",
    ),
]

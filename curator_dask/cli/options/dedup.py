"""Options of k-means, of the ranking and scoring of rows, and of the decision which rows are removed."""

from __future__ import annotations

from typing import Annotated

from curator_dask.cli.options.declare import options_in
from curator_dask.cli.options.panels import DECIDING, GENERAL, INPUT
from curator_dask.errors import ParameterError

option = options_in(DECIDING)
input_option = options_in(INPUT)

NumClusters = Annotated[
    int | None,
    option(
        "--n-clusters",
        help="Number of clusters, parts of the clips that look alike; the vectors of one cluster are compared. Default: one "
        "per thousand clips, at most 1000.",
    ),
]
MaxIter = Annotated[int, option("--max-iter", help="Largest number of iterations of the fit.")]
Tol = Annotated[float, option("--tol", help="Stop when an iteration lowers the cost by less than this share.")]
RandomState = Annotated[int, option("--random-state", help="Seed of k-means and of random choices.")]
InitMethod = Annotated[
    str,
    option(
        "--init",
        values=("k-means||", "random"),
        help="How k-means chooses its first centroids, the middles of clusters.",
    ),
]
NInit = Annotated[int, option("--n-init", help="Number of fits from different first centroids; the best one wins.")]
FitFraction = Annotated[
    float | None,
    option(
        "--fit-data-fraction",
        help="Share of the rows to fit on; 1: all. Default: all of up to 262,144 rows, else --fit-rows-per-cluster.",
    ),
]
FitRowsPerCluster = Annotated[
    int,
    option(
        "--fit-rows-per-cluster",
        help="Rows per cluster to fit on where there are more than 262,144 rows, and at least 65,536 in all. The last "
        "iterations take twice as many.",
    ),
]
ExactAssignment = Annotated[
    bool,
    option(
        "--exact-assignment",
        help="Compare every row with all centroids. Otherwise, from 4,096 clusters on, with those of the nearest groups, if 99 "
        "of 100 rows get their nearest one so.",
    ),
]
CachePath = Annotated[str | None, option("--cache-path", help="Folder for a copy of the centroids.")]

WhichToKeep = Annotated[
    str,
    option(
        "--which-to-keep",
        values=("hard", "easy", "random"),
        help="Which of similar clips to keep: hard (the one farthest from the centroid, the middle of its cluster), easy "
        "(the nearest) or random.",
    ),
]
Keep = Annotated[
    str | None,
    option(
        "--keep",
        help="Instead of --which-to-keep: largest, longest, column:desc or column:asc; several with commas. Columns are "
        "those that kmeans copied, and with --clips-path those of clips.parquet.",
    ),
]
KeepOfRun = Annotated[
    str | None,
    option(
        "--keep",
        help="Which of similar clips to keep: largest, longest, column:desc or column:asc (columns of clips.parquet); "
        "several with commas. It goes before --which-to-keep.",
    ),
]
SimMetric = Annotated[
    str, option("--sim-metric", values=("cosine", "l2"), help="Distance to the centroid that --which-to-keep ranks by.")
]
BatchSize = Annotated[int, option("--pairwise-batch-size", help="Rows that are compared at a time.")]
RandomSeed = Annotated[int, option("--random-seed", help="Seed of --which-to-keep random.")]
CrossCluster = Annotated[
    bool,
    option("--cross-cluster", help="Also find duplicates, up to --eps, that k-means put in different clusters."),
]
Recall = Annotated[
    float | None,
    option(
        "--recall",
        help="With --cross-cluster: the share of the pairs within --eps to find, as a sample estimates it, such as 0.999; it "
        "takes the time that it needs. Default: what is found in about the time of the comparisons within clusters.",
    ),
]
CrossClusterEps = Annotated[float, option("--eps", help="With --cross-cluster: look for pairs up to this eps.")]

EpsOfModel = Annotated[
    float | None,
    option(
        "--eps",
        help="How different two clips may be to count as duplicates: 1 - the cosine of their vectors, so 0 finds equal ones "
        "only. Default: that of the embedding model.",
    ),
]
Eps = Annotated[
    float | None,
    option(
        "--eps",
        help="How different two clips may be to count as duplicates: 1 - the cosine of their vectors, so 0 finds equal ones "
        "only. Default: 0.01.",
    ),
]
TargetKeep = Annotated[
    float | None,
    option(
        "--target-keep",
        help="Instead of --eps: use the largest eps that keeps at least this share of the rows. With --rule overlap: leave "
        "out the weakest overlaps.",
    ),
]
Rule = Annotated[
    str,
    option(
        "--rule",
        values=("auto", "pairwise", "greedy", "overlap"),
        help="Which similar clips cause a removal. overlap: kept clips that show the same moments, as align found. pairwise: "
        "clips within --eps that are ranked before it, even removed ones. greedy: kept ones within --eps. auto: overlap "
        "where overlaps are known, in run for models without weights unless --eps is given; else pairwise.",
    ),
]
Also = Annotated[
    str | None,
    option(
        "--also",
        values=("copies",),
        help="copies: remove copies first, by the moments they share (overlap), then clips within --eps of a kept one (greedy).",
    ),
]
MinCover = Annotated[
    float,
    option(
        "--min-cover", help="With --rule overlap: a clip goes if kept clips show at least this share of its length."
    ),
]
MinMotion = Annotated[
    float | None,
    option(
        "--min-motion",
        help="Drop clips with less motion (motion_mean, 0 to 1) before anything is decided; .003 drops what hardly moves.",
    ),
]
LITTLE_MOTION = 0.003
"""Below it hardly anything moves: docs/quality.md has examples on both sides."""
MotionFilter = Annotated[
    str,
    option(
        "--motion-filter",
        values=("disable", "enable", "score-only"),
        help="The switch of the original workflow. enable: --min-motion .003, unless that is given. The others drop nothing; "
        "the quality columns are there anyway.",
    ),
]
MaxStaticShare = Annotated[
    float | None,
    option("--max-static-share", help="Drop clips that stand still for more than this share (frozen_share, 0 to 1)."),
]
DropBlack = Annotated[
    bool, option("--drop-black", help="Drop clips of which at least 90 % of the frames are black (black_share).")
]


def least_motion(motion_filter: str, min_motion: float | None) -> float | None:
    """The least motion that both options ask for. Raises ParameterError for another switch."""
    if motion_filter not in ("disable", "enable", "score-only"):
        raise ParameterError(f"motion_filter ({motion_filter!r}) must be disable, enable or score-only")
    return LITTLE_MOTION if motion_filter == "enable" and min_motion is None else min_motion


OverlapsPath = Annotated[
    str | None, input_option("--overlaps-path", help="With --rule overlap or --also copies: output of align.")
]
Sweep = Annotated[
    str | None,
    option("--sweep", help="Print what each of these values of eps would keep, such as .05,.1,.2, and decide nothing."),
]
Report = Annotated[
    bool,
    options_in(GENERAL)("--report/--no-report", help="Make the report, OUT/report/index.html, at the end of the run."),
]
AgainstRun = Annotated[
    list[str] | None,
    option(
        "--against",
        metavar="<str>",
        help="Output of another run, such as an evaluation set, which stays as it is. Clips that show what its kept clips "
        "show are removed too. Repeat it for several.",
    ),
]
AgainstPath = Annotated[
    list[str] | None,
    option(
        "--against",
        "--against-path",
        metavar="<str>",
        help="With --rule overlap: output of another run, which stays as it is. What its kept clips show is removed. Repeat "
        "it for several, which align took with --reference-path.",
    ),
]
Scope = Annotated[
    str,
    option(
        "--scope",
        values=("all", "cross", "same"),
        help="Which pairs of clips count: all, cross (from different source videos) or same (from one source video).",
    ),
]
SourceField = Annotated[
    str | None,
    option("--source-field", help="Column that names the source. Default: the source video, from --clips-path."),
]
RecallSample = Annotated[
    int,
    option(
        "--recall-sample",
        help="Compare this many sampled rows with all rows, to measure how many of their duplicates were not found.",
    ),
]
Overrides = Annotated[
    str | None,
    option(
        "--overrides",
        help="CSV file of decisions by hand (id,decision,note; keep or remove), as review writes it. They go over the rule's.",
    ),
]
KMeansPath = Annotated[str, input_option("--kmeans-path", help="Output of kmeans: the vectors.")]
KMeansPathOrSweep = Annotated[
    str, input_option("--kmeans-path", help="Output of kmeans: the vectors. Needed unless --sweep is given.")
]

FinishedKMeansPaths = Annotated[
    list[str],
    input_option(
        "--kmeans-path",
        metavar="<str>",
        help="Output of kmeans of the finished run; repeat it for those of earlier additions.",
    ),
]
FinishedDuplicatesPaths = Annotated[
    list[str],
    input_option(
        "--duplicates-path",
        metavar="<str>",
        help="Output of identify of the finished run; repeat it for those of earlier additions.",
    ),
]
EpsOrFinished = Annotated[
    float | None,
    option("--eps", help="How different two clips may be to count as duplicates. Default: that of the finished run."),
]
RuleOrFinished = Annotated[
    str | None,
    option(
        "--rule",
        values=("pairwise", "greedy", "overlap"),
        help="As in identify. By overlap, the tracks of the new clips are compared with those of the finished run, in all "
        "clusters. Default: the rule of the finished run.",
    ),
]
MinCoverOrFinished = Annotated[
    float | None,
    option(
        "--min-cover",
        help="With --rule overlap: a clip goes if kept clips show at least this share of its length. Default: as in the "
        "finished run.",
    ),
]
AgainstOrFinished = Annotated[
    list[str] | None,
    option(
        "--against",
        "--against-path",
        metavar="<str>",
        help="With --rule overlap: output of another run, which stays as it is. What its kept clips show is removed. May be "
        "repeated. Default: those that the finished run was held against.",
    ),
]

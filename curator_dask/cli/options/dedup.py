"""Options of k-means, of the ranking and scoring of rows, and of the decision which rows are removed."""

from __future__ import annotations

from typing import Annotated

from curator_dask.cli.options.declare import option

NumClusters = Annotated[
    int | None, option("--n-clusters", help="Number of clusters. Default: one per thousand rows, at most 1000.")
]
MaxIter = Annotated[int, option("--max-iter", help="Largest number of iterations of the fit.")]
Tol = Annotated[float, option("--tol", help="Stop when an iteration lowers the cost by less than this share.")]
RandomState = Annotated[int, option("--random-state", help="Seed of k-means and of random choices.")]
InitMethod = Annotated[str, option("--init", help="How k-means chooses its first centroids: k-means|| or random.")]
NInit = Annotated[int, option("--n-init", help="Number of fits from different first centroids; the best one wins.")]
FitFraction = Annotated[
    float | None,
    option("--fit-data-fraction", help="Share of the rows to fit on. Default: all, or as many as 2 GiB hold."),
]
CachePath = Annotated[str | None, option("--cache-path", help="Folder for a copy of the centroids.")]

WhichToKeep = Annotated[
    str,
    option(
        "--which-to-keep",
        help="Which of similar clips to keep: hard (far from the centroid), easy (near it) or random.",
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
        help="Instead of --which-to-keep: largest, longest, column:desc or column:asc (columns of clips.parquet); "
        "several with commas.",
    ),
]
SimMetric = Annotated[
    str, option("--sim-metric", help="Distance to the centroid that --which-to-keep ranks by: cosine or l2.")
]
BatchSize = Annotated[int, option("--pairwise-batch-size", help="Rows that are compared at a time.")]
RandomSeed = Annotated[int, option("--random-seed", help="Seed of --which-to-keep random.")]
CrossCluster = Annotated[
    bool,
    option("--cross-cluster", help="Also find duplicates, up to --eps, that k-means put in different clusters."),
]
CrossClusterEps = Annotated[float, option("--eps", help="With --cross-cluster: look for pairs up to this eps.")]

EpsOfModel = Annotated[
    float | None,
    option(
        "--eps",
        help="Clips with a similarity of at least 1 - eps are duplicates. Default: that of the embedding model.",
    ),
]
Eps = Annotated[
    float | None,
    option("--eps", help="Clips with a similarity of at least 1 - eps are duplicates. Default: 0.01."),
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
        help="Which similar clips cause a removal: pairwise (any clip ranked before it, even a removed one) or greedy "
        "(kept clips only), both by their similarity; or overlap (kept clips that show the same moments, as align found). "
        "auto: overlap where overlaps are known, in run for models without weights unless --eps is given; else pairwise.",
    ),
]
MinCover = Annotated[
    float,
    option(
        "--min-cover", help="With --rule overlap: a clip goes if kept clips show at least this share of its length."
    ),
]
OverlapsPath = Annotated[str | None, option("--overlaps-path", help="With --rule overlap: output of align.")]
Sweep = Annotated[
    str | None,
    option("--sweep", help="Print what each of these values of eps would keep, such as .05,.1,.2, and decide nothing."),
]
Report = Annotated[
    bool, option("--report/--no-report", help="Make the report, OUT/report/index.html, at the end of the run.")
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
KMeansPath = Annotated[str, option("--kmeans-path", help="Output of kmeans: the vectors.")]

FinishedKMeansPaths = Annotated[
    list[str],
    option(
        "--kmeans-path",
        metavar="<str>",
        help="Output of kmeans of the finished run; repeat it for those of earlier additions.",
    ),
]
FinishedDuplicatesPaths = Annotated[
    list[str],
    option(
        "--duplicates-path",
        metavar="<str>",
        help="Output of identify of the finished run; repeat it for those of earlier additions.",
    ),
]
EpsOrFinished = Annotated[float | None, option("--eps", help="Default: the eps of the finished run.")]
RuleOrFinished = Annotated[
    str | None,
    option(
        "--rule",
        help="pairwise, greedy, or overlap (the new clips' tracks are compared with those of the finished run, in all "
        "clusters). Default: the rule of the finished run.",
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

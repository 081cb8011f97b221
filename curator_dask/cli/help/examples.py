"""What people type most often, as ``--help`` shows it: a comment, and the command below it."""

from __future__ import annotations

EXAMPLES: dict[str, tuple[tuple[str, str], ...]] = {
    "curator-dask": (
        ("videos to try it with, and the whole job on them", "curator-dask samples videos"),
        ("", "curator-dask run --video-dir videos --output-path out"),
    ),
    "run": (
        ("from a folder of videos to training data", "curator-dask run --video-dir videos --output-path out"),
        ("see the plan first", "curator-dask run --video-dir videos --output-path out --dry-run"),
        (
            "clips of 5 seconds; keep out what an evaluation set shows",
            "curator-dask run --video-dir videos --output-path out --fixed-stride-split-duration 5 --against evaluation",
        ),
    ),
    "split": (("clips and their vectors", "curator-dask split --video-dir videos --output-path steps"),),
    "embed": (
        (
            "another model, from a local Hugging Face folder",
            "curator-dask embed --input-path steps --embedding-algorithm hf:models/dinov2-base",
        ),
    ),
    "align": (
        (
            "which clips show the same moments",
            "curator-dask align --input-path steps/pdqf_tmk_nobars_embd_parquet --output-path steps/overlaps",
        ),
    ),
    "kmeans": (
        (
            "vectors of your own, in other columns",
            "curator-dask kmeans --input-path vectors --output-path steps/kmeans --id-field name --embedding-field vector",
        ),
    ),
    "pairwise": (
        (
            "the largest and longest clips stay",
            "curator-dask pairwise --input-path steps/kmeans --output-path steps/pairwise --keep largest,longest "
            "--clips-path steps",
        ),
    ),
    "identify": (
        (
            "what several values of eps would keep",
            "curator-dask identify --input-path steps/pairwise --kmeans-path steps/kmeans --output-path steps/duplicates "
            "--sweep .05,.1,.2",
        ),
        (
            "decide by one of them",
            "curator-dask identify --input-path steps/pairwise --kmeans-path steps/kmeans --output-path steps/duplicates "
            "--eps .1",
        ),
    ),
    "dedup-new": (
        (
            "new vectors beside a finished run",
            "curator-dask dedup-new --input-path new_vectors --kmeans-path out/kmeans --duplicates-path out/duplicates "
            "--output-path new",
        ),
    ),
    "export": (
        (
            "shards for training and validation",
            "curator-dask export --input-path steps --duplicates-path steps/duplicates --output-path steps/dataset "
            "--split train=.98,val=.02",
        ),
        (
            "captions and other columns of a table of yours",
            "curator-dask export --input-path out --duplicates-path out/duplicates --output-path captioned "
            "--metadata films.csv --caption-column caption",
        ),
    ),
    "verify": (
        ("an output against its records", "curator-dask verify out"),
        ("mark what is broken; the run that made it then redoes that", "curator-dask verify out --repair"),
    ),
    "inspect": (("a page to look at before you delete", "curator-dask inspect out"),),
    "review": (("decide by hand", "curator-dask review out"),),
    "similar": (
        ("ten clips most like a file of yours", "curator-dask similar out holiday.mp4"),
        (
            "three clips most like one of the output",
            "curator-dask similar out 0a1b2c3d-0000-5000-8000-000000000000 --top 3",
        ),
    ),
    "sample": (
        ("10,000 of the kept clips, as many of each cluster as it has", "curator-dask sample out --size 10000"),
    ),
    "prune": (("what is left over of videos that are gone", "curator-dask prune out"),),
    "plan": (
        ("what a hundred million clips need", "curator-dask plan --clips 1e8 --cores 640 --within-hours 72"),
        ("the same with the speed of this machine", "curator-dask plan --clips 1e8 --cores 640 --probe"),
    ),
    "doctor": (("what this machine has", "curator-dask doctor"),),
    "samples": (("videos to try the tool with", "curator-dask samples videos"),),
    "calibrate": (
        ("which thresholds fit your clips", "curator-dask calibrate --input-path videos --output-path calibration"),
    ),
}

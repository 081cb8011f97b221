"""The lines of the campaign, in the order in which they run."""

from __future__ import annotations

from benchmarks.faults.line import Line
from benchmarks.faults.lines.damage import damage_files
from benchmarks.faults.lines.disk import fill_disks
from benchmarks.faults.lines.exact_calls import crash_at_calls, crash_runs_at_calls
from benchmarks.faults.lines.hostile import feed_hostile_files
from benchmarks.faults.lines.kills import kill_runs, kill_schedulers, kill_workers
from benchmarks.faults.lines.large import MOST_CPU_S, MOST_MB, feed_large_files
from benchmarks.faults.lines.packed import damage_batches
from benchmarks.faults.lines.parts import kill_in_parts
from benchmarks.faults.lines.soak import CLIPS_PER_ROUND, soak_decoders
from benchmarks.faults.lines.store import RATE, disturb_store
from benchmarks.faults.lines.two_runs import start_two_runs

LINES = (
    Line(
        "run-killed",
        "`kill -9` of the run at a random time, three times per round. A third of the rounds have workers of the run, which "
        "must end with it; the others have workers of a cluster that lives on. The same command then goes on.",
        kill_runs,
    ),
    Line(
        "exact-calls",
        "A process, the run or a worker, ends at one exact call that gives a file its name: before it, before it with "
        "half of the file written, or after it. The calls are spread over the whole run.",
        crash_at_calls,
    ),
    Line(
        "run-at-calls",
        "The run itself, and no worker, ends at one exact call of its own that gives a file its name: before it, before it "
        "with half of the file written, or after it. Its workers live on. The same command then goes on.",
        crash_runs_at_calls,
    ),
    Line(
        "parts-killed",
        "`kill -9` of the run at a random time, three times per round, while videos are cut in parts. The same command goes on: "
        "the clips and records of parts that were finished before are not written again.",
        kill_in_parts,
    ),
    Line("worker-killed", "`kill -9` of the only worker at a random time. The run goes on by itself.", kill_workers),
    Line(
        "scheduler-killed",
        "`kill -9` of the scheduler at a random time. The run ends with an error that says so; the same command then "
        "goes on with other workers.",
        kill_schedulers,
    ),
    Line(
        "disk-full",
        "The disk of the output has too little room for bytes, then for the number of files. The run names it; with "
        "room, the same command goes on.",
        fill_disks,
    ),
    Line(
        "flaky-store",
        f"The output lies in an S3 store where {RATE:.0%} of all requests meet an error 500 or 503, an answer 3 s late, a "
        "connection that is cut, or half an answer. If the run does not get through, the same command goes on later.",
        disturb_store,
    ),
    Line(
        "two-runs",
        "Two runs of the same command on one output, started 0, 6 and 12 s apart. One works; the other is refused with "
        "status 4 and told who holds the output.",
        start_two_runs,
    ),
    Line(
        "damage",
        "In a finished output, one file of each kind has a bit flipped, is cut off, or has a block zeroed. `verify` must "
        "name it. Then files of all kinds are damaged at once, `verify --repair` marks them, and the same command makes them "
        "again.",
        damage_files,
    ),
    Line(
        "packed",
        "The markers of a finished output are packed, and one batch has a bit flipped, is cut off, has a block zeroed, or is "
        "gone. `verify --repair` must find it, and the same command makes the units again that lost their record.",
        damage_batches,
    ),
    Line(
        "hostile",
        "Playlists, scripts and links that lead to a file outside and to a port of this machine, odd names, pipes, broken "
        "videos, and videos with random bytes changed. The file outside is watched, and so is the port.",
        feed_hostile_files,
    ),
    Line(
        "large",
        "A million tiny frames in one file, pictures of 16,000x16,000 pixels, a header that says 65,535x65,535, the largest "
        "pictures that may be, 50 GB of zeros under several endings, and a good video with 50 GB of zeros inside; one by one, "
        f"from video to shards. No run may take over {MOST_MB:,.0f} MB, its worker and the ffmpegs included, or over "
        f"{MOST_CPU_S:,.0f} s of CPU; each file that gives no clips has a record that says why.",
        feed_large_files,
    ),
    Line(
        "soak",
        f"{CLIPS_PER_ROUND} clips per round through the decoders of one process, every tenth by a decoder for videos of "
        "unknown origin.",
        soak_decoders,
    ),
)

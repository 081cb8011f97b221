"""Options that say which videos are read and how they are cut."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from curator_dask.cli.options.declare import options_in
from curator_dask.cli.options.panels import EMBEDDING, INPUT, SPLITTING

option = options_in(SPLITTING)
input_option = options_in(INPUT)

VideoDir = Annotated[
    str, input_option("--video-dir", help="The videos: a folder (searched recursively), file, glob or URL.")
]
ClipFolder = Annotated[
    str,
    input_option("--output-path", "--output-clip-path", help="Output root: a folder or a URL such as s3://bucket/run."),
]
ModelDir = Annotated[str, options_in(EMBEDDING)("--model-dir", help="Folder with model weights.")]
VideoLimit = Annotated[int | None, input_option("--video-limit", help="Read only the first N videos in path order.")]
Include = Annotated[
    list[str] | None,
    typer.Option(
        "--include",
        rich_help_panel=INPUT,
        metavar="<str>",
        help="Glob; only files that it chooses are read, such as '*.mp4', a folder's name, or 'day1/**'. May be repeated.",
    ),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option(
        "--exclude",
        rich_help_panel=INPUT,
        metavar="<str>",
        help="Glob; files that it chooses are left out and counted. May be repeated.",
    ),
]
FollowLinks = Annotated[
    bool,
    input_option(
        "--follow-links", help="Also read what symbolic links out of the folder lead to; else they are left out."
    ),
]
SplittingAlgorithm = Annotated[
    str,
    option(
        "--splitting-algorithm",
        values=("fixed_stride", "transnetv2", "content"),
        help="How videos are cut: in clips of one length, or where shots begin, found by a network or by comparing frames.",
    ),
]
ContentThreshold = Annotated[
    float,
    option(
        "--content-threshold",
        help="content: how many times as much two sides of a cut differ as neighbouring frames do, at least.",
    ),
]
ShotThreshold = Annotated[
    float, option("--transnetv2-threshold", help="Probability above which a frame belongs to a change of shots.")
]
ShotMinLength = Annotated[
    float,
    option("--transnetv2-min-length-s", help="Shortest clip of a shot in seconds; others are dropped and counted."),
]
ShotMaxLength = Annotated[
    float, option("--transnetv2-max-length-s", help="Longest clip of a shot in seconds, before it is cropped.")
]
ShotMaxLengthMode = Annotated[
    str,
    option(
        "--transnetv2-max-length-mode",
        values=("stride", "truncate"),
        help="What becomes of longer shots: several clips, or only the first.",
    ),
]
ShotCrop = Annotated[
    float, option("--transnetv2-crop-s", help="Seconds taken away from both ends of each clip of a shot.")
]
ShotRefine = Annotated[
    bool,
    option(
        "--transnetv2-refine/--no-transnetv2-refine",
        help="Take flashes for no cuts, and clear cuts that the network misses for cuts; or let the network decide alone.",
    ),
]
ShotDecoder = Annotated[
    str | None,
    option(
        "--transnetv2-frame-decoder-mode",
        values=("pynvc", "ffmpeg_gpu", "ffmpeg_cpu"),
        help="Taken from scripts of the original workflow and without effect: ffmpeg decodes the small frames on the CPU.",
    ),
]
ShotMemory = Annotated[
    float | None,
    option(
        "--transnetv2-gpu-memory-gb",
        help="Taken from scripts of the original workflow and without effect: the network needs less than 1 GB.",
    ),
]
Spans = Annotated[
    str | None,
    option(
        "--spans",
        help="A CSV or Parquet file of yours with the columns path, start, end (seconds): these spans are cut, no others.",
    ),
]
SplitDuration = Annotated[float, option("--fixed-stride-split-duration", help="Clip length in seconds.")]
SplitStride = Annotated[
    float | None,
    option("--fixed-stride-stride", help="Seconds from one clip start to the next. Default: the clip length."),
]
MinClipLength = Annotated[
    float,
    option("--fixed-stride-min-clip-length-s", help="Shortest clip in seconds; shorter ends are dropped and counted."),
]
LimitClips = Annotated[int, option("--limit-clips", help="Only the first N clips of each video; 0 for all.")]
Encoder = Annotated[
    str,
    option(
        "--transcode-encoder",
        values=("libopenh264", "libx264", "h264_nvenc", "copy"),
        help="How clips are encoded. copy: not at all, so they begin at key frames.",
    ),
]
EncoderThreads = Annotated[int, option("--transcode-encoder-threads", help="Encoder threads per ffmpeg process.")]
UseInputBitRate = Annotated[
    bool, option("--transcode-use-input-video-bit-rate", help="Encode at the bit rate of the source video.")
]
BitRate = Annotated[
    str | None, option("--transcode-bit-rate", help="Encode at this bit rate, such as 4M. Default: constant quality.")
]
Audio = Annotated[
    str, option("--audio", help="Sound of the clips: the number of one track (1 is the first), all or none.")
]
Deinterlace = Annotated[
    bool,
    option("--deinterlace/--no-deinterlace", help="Make interlaced pictures whole, or keep both fields in each."),
]
MaxHold = Annotated[
    float | None,
    option(
        "--max-hold-s",
        help="The most seconds of a clip, at its start or end, in which a picture may be held over a pause without "
        "frames. Default: the whole clip.",
    ),
]
UploadClips = Annotated[
    bool, option("--upload-clips/--no-upload-clips", help="Write the clips as MP4 files, or only plan and record them.")
]
MaxVideoHours = Annotated[
    float | None,
    option("--max-video-hours", help="Do not cut longer videos: each is a failure with the reason too-long."),
]
PartMinutes = Annotated[
    float,
    option(
        "--part-minutes",
        help="Cut longer videos in parts of about so many minutes, each with a checkpoint of its own; 0: never.",
    ),
]
RelativeIds = Annotated[
    bool,
    option(
        "--relative-ids",
        help="Make clip ids from paths relative to --video-dir, so that ids stay when the videos are moved.",
    ),
]
Ids = Annotated[
    str,
    option(
        "--ids",
        values=("exact", "original"),
        help="How clip ids follow from the times of a clip: exact, or original (as the original workflow rounds them), "
        "so that ids equal those of output that it has made.",
    ),
]


@dataclass(frozen=True)
class SplitOptions:
    """The videos, the output, and how clips are cut and encoded."""

    video_dir: VideoDir
    output_path: ClipFolder
    model_dir: ModelDir = "./models"
    video_limit: VideoLimit = None
    include: Include = None
    exclude: Exclude = None
    follow_links: FollowLinks = False
    splitting_algorithm: SplittingAlgorithm = "fixed_stride"
    fixed_stride_split_duration: SplitDuration = 10.0
    fixed_stride_stride: SplitStride = None
    fixed_stride_min_clip_length_s: MinClipLength = 2.0
    content_threshold: ContentThreshold = 3.0
    transnetv2_threshold: ShotThreshold = 0.4
    transnetv2_min_length_s: ShotMinLength = 2.0
    transnetv2_max_length_s: ShotMaxLength = 10.0
    transnetv2_max_length_mode: ShotMaxLengthMode = "stride"
    transnetv2_crop_s: ShotCrop = 0.5
    transnetv2_refine: ShotRefine = True
    transnetv2_frame_decoder_mode: ShotDecoder = None
    transnetv2_gpu_memory_gb: ShotMemory = None
    spans: Spans = None
    limit_clips: LimitClips = 0
    transcode_encoder: Encoder = "libopenh264"
    transcode_encoder_threads: EncoderThreads = 1
    transcode_use_input_video_bit_rate: UseInputBitRate = False
    transcode_bit_rate: BitRate = None
    audio: Audio = "1"
    deinterlace: Deinterlace = False
    max_hold_s: MaxHold = None
    max_video_hours: MaxVideoHours = None
    part_minutes: PartMinutes = 120.0

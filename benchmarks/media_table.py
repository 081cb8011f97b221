"""What happens to odd videos: one of each kind is made, cut, and described in a row of docs/media.md.

    python -m benchmarks.media_table > docs/media.md
    python -m benchmarks.media_table --only "clock jumps"    rows whose oddity has these words

It takes about a minute. Each video has 6 s of pictures if nothing else is said, and is cut into clips of 2 s.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curator_dask.errors import MediaError
from curator_dask.video.cut.cut_report import CutReport
from curator_dask.video.cut.encoders import TranscodeSettings
from curator_dask.video.cut.sound.tracks import plan_sound
from curator_dask.video.cut.transcode import cut_clips
from curator_dask.video.probe import VideoInfo, probe_video
from curator_dask.video.process import ffmpeg, sandbox
from curator_dask.video.spans import fixed_stride_spans

CLIP_S = 2.0
SOURCE = "testsrc2=size=128x96:rate=25"
X264, AAC = ("-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-threads", "1"), ("-c:a", "aac")
USUAL = (*X264, *AAC)
MPEG2 = ("-c:v", "mpeg2video", "-q:v", "4", "-c:a", "mp2")
HEAD = """# What happens to which videos

Videos come in many containers and with many oddities. This table says what `split` does with them. A command made it,
from one small file of each kind (6 s of pictures with a tone if nothing else is said, cut into clips of 2 s):

    python -m benchmarks.media_table > docs/media.md

*Frames* counts those in all clips. *Sound* is copied, or encoded as AAC stereo. *The record says* are the warnings in
the record of the video, `processed_videos/{video}.json`.

| container | oddity | clips | frames | sound | the record says |
|---|---|---|---|---|---|"""
TAIL = """
* **Frames.** Every decoded frame is in a clip or outside the planned spans. A video for which this is not so fails with
  the reason `frames-lost`.
* **Pauses.** A part of a span without frames is filled with a copy of the picture that is on the screen: at its start if
  it is longer than .1 s, at its end if it is longer than .5 s. So a clip begins at most .1 s late, and `start_s` in its
  record says when. A shorter rest at the end belongs to the last frame, which ends with the span.
* **Holes.** A stretch whose frames are damaged looks like a pause. Where pictures were held in a file that has errors, the
  record says how many packets could not be decoded, so that some of these pauses may be damage; or that all pictures in it
  could be decoded, and a pause is damage only if the file has lost packets there.
* **Start.** The first clip begins with the first picture. Sound that starts up to .1 s earlier stays in it, before the picture.
* **Animated WebP** is not among the endings that are listed, so it is counted as left out. Make an MP4 or a GIF of it first.
* **Sound tracks.** Clips have the first one. `--audio 2` takes the second, `--audio all` all of them, `--audio none` none.
* **Sound** is copied if it is AAC and its channels, sample rate and profile are the same from start to end. To know, all
  packets are read in transport and program streams, in Flash, and in MP4 that describes one track several times. Where the
  sample rate changes inside a transport stream, the sound behind the change may be out of step with the pictures, and the
  record says so.
* **Colours.** RGB is converted with the matrix BT.709, and the clips are tagged so. All other pictures keep their matrix,
  range and tags, also where they have none: no clip claims what its source did not.
* **HDR.** Clips have 8 bits a colour and the tags of the source (BT.2020, PQ or HLG). No tone mapping is done.
* **Interlaced pictures** stay as they are, or are made whole with `--deinterlace`: one picture for each, at its time.
* **With `--transcode-encoder copy`** pictures are not touched at all, so nothing is said about them."""

Make = Callable[[Path], None]
"""Writes a video to a path; other files beside it are its own affair."""


@dataclass(frozen=True)
class Case:
    """One row."""

    container: str
    oddity: str
    suffix: str
    make: Make


def run_ffmpeg(*arguments: str) -> None:
    finished = sandbox.run([*ffmpeg.global_args(), *arguments], timeout_s=120)
    if finished.returncode != 0:
        raise SystemExit(f"ffmpeg {' '.join(arguments)}: {finished.stderr_tail}")


def write(
    path: Path, *options: str, seconds: float = 6, picture: str = SOURCE, tone: str = "sine=frequency=440"
) -> Path:
    """A video with a tone. `options` follow the inputs."""
    sound = ("-f", "lavfi", "-i", f"{tone}:duration={seconds}") if tone else ()
    video = picture.replace(":rate", f":duration={seconds}:rate", 1)
    run_ffmpeg("-f", "lavfi", "-i", video, *sound, *options, str(path))
    return path


def made(*options: str, **sources: Any) -> Make:
    return lambda path: void(write(path, *options, **sources))


def void(_: object) -> None:
    """A maker returns nothing."""


def joined(*parts: tuple[str, ...]) -> Make:
    """Parts of 3 s, each with its options, joined byte for byte."""

    def make(path: Path) -> None:
        files = [write(path.with_name(f"{i}{path.suffix}"), *part, seconds=3) for i, part in enumerate(parts)]
        path.write_bytes(b"".join(file.read_bytes() for file in files))

    return make


def late_pictures(path: Path) -> None:
    video = ("-itsoffset", "3", "-f", "lavfi", "-i", f"{SOURCE}:duration=6")
    run_ffmpeg(*video, "-f", "lavfi", "-i", "sine=duration=9", *USUAL, str(path))


def two_videos(*options: str) -> Make:
    def make(path: Path) -> None:
        sources = [
            word
            for size in ("64x48", "128x96")
            for word in ("-f", "lavfi", "-i", f"testsrc2=size={size}:rate=25:duration=6")
        ]
        tone = ("-f", "lavfi", "-i", "sine=duration=6")
        run_ffmpeg(*sources, *tone, "-map", "0", "-map", "2", "-map", "1", "-map", "2", *USUAL, *options, str(path))

    return make


def two_sounds(path: Path) -> None:
    tones = ("-f", "lavfi", "-i", "sine=frequency=300:duration=6", "-f", "lavfi", "-i", "sine=frequency=600:duration=6")
    run_ffmpeg(
        "-f", "lavfi", "-i", f"{SOURCE}:duration=6", *tones, "-map", "0", "-map", "1", "-map", "2", *USUAL, str(path)
    )


def new_size(second: str) -> Make:
    """VP8 of 128x96, then of another size."""

    def make(path: Path) -> None:
        for i, size in enumerate(("128x96", second)):
            source = f"testsrc2=size={size}:rate=25"
            write(path.with_name(f"{i}.ivf"), "-c:v", "libvpx", seconds=3, picture=source, tone="")
        path.with_name("parts.txt").write_text("file 0.ivf\nfile 1.ivf\n")
        run_ffmpeg("-f", "concat", "-i", str(path.with_name("parts.txt")), "-c", "copy", str(path))

    return make


def crop(path: Path) -> None:
    """The display size of a Matroska file becomes a crop by 12 lines above and below."""
    write(path, *X264, "-vf", "setsar=2", tone="")
    display_size, crop = bytes.fromhex("54b0810854ba810354b28103"), bytes.fromhex("54bb810c54aa810c54b28100")
    path.write_bytes(path.read_bytes().replace(display_size, crop))


def turned(path: Path) -> None:
    raw = write(path.with_name("raw.mp4"), *USUAL)
    run_ffmpeg("-display_rotation", "90", "-i", str(raw), "-c", "copy", str(path))


PAUSES = ("-vf", "select='lt(t,1)+between(t,3,3.5)+gte(t,5)'", "-fps_mode", "vfr", *USUAL)
INTERLACED = (*X264, "-vf", "interlace", "-flags", "+ildct+ilme")
HDR = f"{SOURCE},format=yuv420p10le,setparams=color_trc=smpte2084:color_primaries=bt2020:colorspace=bt2020nc"
CASES = (
    Case("MP4", "none", ".mp4", made(*USUAL)),
    Case("MOV", "PCM sound", ".mov", made(*X264, "-c:a", "pcm_s16le")),
    Case("Matroska", "none", ".mkv", made(*USUAL)),
    Case("WebM", "VP9 and Opus", ".webm", made("-c:v", "libvpx-vp9", "-cpu-used", "8", "-c:a", "libopus")),
    Case("AVI", "MPEG-4 and MP3", ".avi", made("-c:v", "mpeg4", "-c:a", "libmp3lame")),
    Case("MPEG-TS", "none", ".ts", made(*USUAL)),
    Case("MPEG-TS", "AVCHD, AC-3 sound", ".m2ts", made(*X264, "-c:a", "ac3")),
    Case("MPEG-PS", "MPEG-2 and MP2", ".mpg", made(*MPEG2)),
    Case("Flash", "none", ".flv", made(*USUAL, "-ar", "44100")),
    Case("ASF", "WMV and WMA", ".wmv", made("-c:v", "wmv2", "-c:a", "wmav2")),
    Case("Ogg", "VP8 and Vorbis", ".ogv", made("-c:v", "libvpx", "-c:a", "libvorbis")),
    Case("MXF", "MPEG-2 and PCM", ".mxf", made("-c:v", "mpeg2video", "-c:a", "pcm_s16le", "-ar", "48000")),
    Case("GIF", "palette, may be transparent", ".gif", made(tone="")),
    Case("WebP", "animated", ".webp", made("-c:v", "libwebp_anim", tone="", seconds=1)),
    Case("MPEG-TS", "parts joined, the clock restarts", ".ts", joined(USUAL, USUAL)),
    Case("MPEG-PS", "parts joined, the clock restarts", ".mpg", joined(MPEG2, MPEG2)),
    Case("MPEG-TS", "the clock jumps forward by an hour", ".ts", joined(USUAL, (*USUAL, "-output_ts_offset", "3600"))),
    Case("MP4", "pictures start 3 s after the sound", ".mp4", late_pictures),
    Case("Matroska", "pictures start 3 s after the sound", ".mkv", late_pictures),
    Case("MPEG-TS", "pictures start 3 s after the sound", ".ts", late_pictures),
    Case("MP4", "pauses of 2 s and 1.5 s between pictures", ".mp4", made(*PAUSES)),
    Case("MPEG-TS", "AAC changes its channels", ".ts", joined(USUAL, (*USUAL, "-ac", "6", "-output_ts_offset", "3"))),
    Case("Matroska", "two sound tracks", ".mkv", two_sounds),
    Case("MP4", "two video streams, 64x48 and 128x96", ".mp4", two_videos()),
    Case("MPEG-TS", "two programmes, 64x48 and 128x96", ".ts", two_videos("-program", "st=0:st=1", "-program", "st=2:st=3")),
    Case("Matroska", "another frame size from 3 s on, another shape", ".mkv", new_size("96x128")),
    Case("Matroska", "another frame size from 3 s on, the same shape", ".mkv", new_size("256x192")),
    Case("Matroska", "a crop in the header", ".mkv", crop),
    Case("MP4", "turned by 90° in the header", ".mp4", turned),
    Case("MP4", "RGB (libx264rgb)", ".mp4", made("-c:v", "libx264rgb", "-preset", "ultrafast", tone="")),
    Case("MP4", "interlaced", ".mp4", made(*INTERLACED, picture="testsrc2=size=128x96:rate=50", tone="")),
    Case("WebM", "transparency (VP9)", ".webm", made("-pix_fmt", "yuva420p", "-c:v", "libvpx-vp9", "-cpu-used", "8", tone="")),
    Case("MOV", "transparency (RGB)", ".mov", made("-pix_fmt", "argb", "-c:v", "qtrle", tone="")),
    Case("MP4", "HDR (PQ, 10 bits)", ".mp4", made(*X264, picture=HDR, tone="")),
)  # fmt: skip


def row(case: Case) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path, clips = Path(folder) / f"video{case.suffix}", Path(folder) / "clips"
        case.make(path)
        clips.mkdir()
        try:
            cells = described(*cut(path, clips))
        except MediaError as error:
            cells = ("0", "0", "", f"refused: `{error.reason}`")
    return f"| {' | '.join((case.container, case.oddity, *cells))} |"


def cut(path: Path, clips: Path) -> tuple[VideoInfo, CutReport]:
    info = probe_video(path)
    spans = fixed_stride_spans(
        info.duration_s or 0, framerate=info.framerate, length_s=CLIP_S, stride_s=CLIP_S, min_length_s=1.0
    ).spans
    return info, cut_clips(info, spans, TranscodeSettings(), clips)


def described(info: VideoInfo, report: CutReport) -> tuple[str, str, str, str]:
    good = [clip for clip in report.clips if clip.path is not None]
    failed = [clip.reason or "" for clip in report.clips if clip.path is None]
    num_clips = str(len(good)) + (f", {len(failed)} failed: `{failed[0]}`" if failed else "")
    tracks = plan_sound(info, "1").tracks
    sound = ("copied" if tracks[0].is_copied else "encoded") if tracks else "none"
    said = "; ".join([*report.warnings, *report.notes])
    return num_clips, str(sum(clip.num_frames for clip in good)), sound, said


def rows(words: str = "") -> Iterator[str]:
    yield from (row(case) for case in CASES if words in case.oddity)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="WORDS")
    options = parser.parse_args()
    print(HEAD)
    for line in rows(options.only):
        print(line, flush=True)
    print(TAIL)


if __name__ == "__main__":
    main()

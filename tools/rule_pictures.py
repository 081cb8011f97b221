"""Make the two pictures of docs/choosing.md from sample videos: two clips of one kind, and a clip with its copy.

    python -m tools.rule_pictures FOLDER_OF_VIDEOS            # writes near_neighbours.jpg and copies.jpg to docs/images

Each picture has two rows, one per clip, with four moments from left to right. The videos are `car_30s_432p12_5_aac.mp4`
(CC BY 4.0) and `bbb_30s_vp8_vorbis.webm` (Big Buck Bunny, CC BY 3.0).
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from curator_dask.video.process.ffmpeg import ffmpeg_path

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
CARS, BUNNY = "car_30s_432p12_5_aac.mp4", "bbb_30s_vp8_vorbis.webm"
LATER_AND_EDITED = "crop=iw*0.92:ih*0.92,hue=s=0.25,eq=brightness=0.06,"
PICTURES = {
    "near_neighbours.jpg": ((CARS, 3.0, ""), (CARS, 19.0, "")),
    "copies.jpg": ((BUNNY, 12.0, ""), (BUNNY, 13.0, LATER_AND_EDITED)),
}
"""File, start in seconds and edit of both clips; each row shows 8 seconds."""


def main(folder: str) -> None:
    for name, clips in PICTURES.items():
        inputs = [
            part for file, start_s, _ in clips for part in ("-ss", str(start_s), "-t", "8", "-i", f"{folder}/{file}")
        ]
        rows = [
            f"[{number}:v]{edit}fps=0.5,scale=200:112,tile=4x1:margin=3:padding=6:color=white[row{number}]"
            for number, (*_, edit) in enumerate(clips)
        ]
        graph = ";".join([*rows, "[row0][row1]vstack"])
        command = [ffmpeg_path(), "-nostdin", "-v", "error", "-y", *inputs, "-filter_complex", graph]
        subprocess.run([*command, "-frames:v", "1", "-q:v", "5", str(IMAGES / name)], check=True)
        print(f"wrote docs/images/{name}")


if __name__ == "__main__":
    main(sys.argv[1])

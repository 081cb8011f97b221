"""Files that lie, lead elsewhere or are broken: nothing outside is read, nobody is called, and every file is counted."""

from __future__ import annotations

import ctypes
import json
import os
import random
import re
import shutil
import socket
from pathlib import Path

from benchmarks.faults.line import Asked, Came, NotPossibleError

CORPUS = Path(__file__).resolve().parents[4] / "shared" / "videos" / "bad"
"""Beside the checkout; the line also works without it."""
MUTATED_PER_ROUND = 20
IN_ACCESS, IN_OPEN = 0x1, 0x20
PLAYLIST = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:10\n#EXTINF:10.0,\n{url}\n#EXT-X-ENDLIST\n"
TEMPLATES = {
    "playlist": PLAYLIST,
    "concat": "ffconcat version 1.0\nfile '{url}'\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT9S">'
    '<Period><AdaptationSet mimeType="video/mp4"><Representation id="0" bandwidth="1"><BaseURL>{url}</BaseURL>'
    "</Representation></AdaptationSet></Period></MPD>",
    "entity": '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY y SYSTEM "{url}">]><MPD>&y;</MPD>',
    "key": PLAYLIST.replace("#EXTINF", '#EXT-X-KEY:METHOD=AES-128,URI="{url}"\n#EXTINF'),
    "redirect": "RTSPtext\r\n{url}\r\n",
}
ENDINGS = (".mp4", ".ts", ".mkv")
NAMES = ("name with spaces.mp4", "имя-日本語.mp4", "new\nline.mp4", "-dash.mp4", "pct_%03d_%s.mp4", "q'dq\"$(id)`.mp4",
         "colon:pipe|star*.mp4", "http:__x.mp4", "brackets[0]{a}.mp4", f"{'a' * 240}.mp4", b"bad_\xff\xfe.mp4")  # fmt: skip


class Watch:
    """Tells how often a file was opened or read, by inotify (Linux)."""

    def __init__(self, path: Path) -> None:
        try:
            self._libc = ctypes.CDLL(None, use_errno=True)
            self._descriptor = self._libc.inotify_init1(os.O_NONBLOCK)
        except (OSError, AttributeError) as error:
            raise NotPossibleError("watching a file needs inotify") from error
        self._libc.inotify_add_watch(self._descriptor, os.fsencode(path), IN_ACCESS | IN_OPEN)

    def seen(self) -> int:
        """Events since the last call; each has 16 bytes, as the watch is of a file and not of a folder."""
        try:
            return len(os.read(self._descriptor, 1 << 16)) // 16
        except BlockingIOError:
            return 0


class Listener:
    """Tells how many connections came to a port of this machine. The kernel takes them; nobody has to accept them."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._socket.setblocking(False)
        self.port: int = self._socket.getsockname()[1]

    def seen(self) -> int:
        count = 0
        while True:
            try:
                self._socket.accept()[0].close()
            except BlockingIOError:
                return count
            count += 1


def feed_hostile_files(asked: Asked, came: Came) -> None:
    canary = asked.folder / "canary.mp4"
    shutil.copy(asked.job.videos / "scene_0.mp4", canary)
    watch, listener = Watch(canary), Listener()
    canary.read_bytes()
    socket.create_connection(("127.0.0.1", listener.port)).close()
    if not (watch.seen() and listener.seen()):
        raise NotPossibleError("neither reads of a file nor connections can be seen here")
    for number in range(asked.rounds):
        folder = asked.folder / f"files-{number}"
        folder.mkdir()
        if number == 0:
            _lead_elsewhere(folder, canary, listener.port, asked.job.videos / "scene_0.mp4")
            _copy_corpus(folder, canary, listener.port, came)
        _mutate(folder, sorted(asked.job.videos.glob("scene_*")), asked.chance)
        _feed(asked, came, folder, links_to_nothing=int(number == 0))
        reads, calls = watch.seen(), listener.seen()
        came.expect(reads == 0, "rounds in which nothing outside was read", f"the canary was read {reads} times")
        came.expect(calls == 0, "rounds in which nobody was called", f"{calls} connections")


def _lead_elsewhere(folder: Path, canary: Path, port: int, good: Path) -> None:
    """Playlists and scripts with the endings of videos, links, odd names, and things that are no files."""
    urls = {
        "path": str(canary), "file": f"file://{canary}", "http": f"http://127.0.0.1:{port}/x.mp4",
        "concat": f"concat:{canary}|http://127.0.0.1:{port}/", "crypto": f"crypto:{canary}", "tcp": f"tcp://127.0.0.1:{port}",
        "subfile": f"subfile,,start,0,end,0,,:{canary}", "near": f"../{canary.name}",
    }  # fmt: skip
    for kind, template in TEMPLATES.items():
        for name, url in urls.items():
            ending = ENDINGS[len(list(folder.iterdir())) % len(ENDINGS)]
            (folder / f"{kind}_{name}{ending}").write_text(template.replace("{url}", url))
    for odd in NAMES:
        shutil.copy(good, folder / os.fsdecode(odd))
    (folder / "link.mp4").symlink_to(canary)
    (folder / "nowhere.mp4").symlink_to(folder / "gone.mp4")
    (folder / "zero.mp4").symlink_to("/dev/zero")
    os.mkfifo(folder / "pipe.mp4")


def _copy_corpus(folder: Path, canary: Path, port: int, came: Came) -> None:
    if not CORPUS.is_dir():
        came.notes.append("the corpus of broken videos is not there, so only files that were made for this were fed")
        return
    for path in sorted(CORPUS.iterdir()):
        if path.suffix != ".json" and path.is_file():
            data = path.read_bytes()
            if len(data) < 4096:  # scripts: they lead to the canary and to the listener
                data = re.sub(rb"/etc/passwd|\.\./real/[\w.]+", os.fsencode(canary), data)
                data = data.replace(b"127.0.0.1:1/", f"127.0.0.1:{port}/".encode())
            (folder / f"corpus_{path.name}").write_bytes(data)


def _mutate(folder: Path, good: list[Path], chance: random.Random) -> None:
    for number in range(MUTATED_PER_ROUND):
        path = chance.choice(good)
        data = bytearray(path.read_bytes())
        for _ in range(chance.choice((1, 10, 100))):
            # Headers stand at the beginning and at the end.
            place = chance.choice(
                (chance.randrange(len(data)), chance.randrange(2000), len(data) - 1 - chance.randrange(2000))
            )
            data[place] = chance.randrange(256)
        (folder / f"mutated_{number:02}{path.suffix}").write_bytes(
            data[: chance.choice((len(data), chance.randrange(len(data))))]
        )


def _feed(asked: Asked, came: Came, folder: Path, links_to_nothing: int) -> None:
    job, out = asked.job, asked.folder / "hostile-out"
    shutil.rmtree(out, ignore_errors=True)
    run = job.command(
        "split", "--video-dir", str(folder), "--output-path", str(out), "--fixed-stride-split-duration", "2",
        "--limit-clips", "2", "--json", *job.cluster,
    )  # fmt: skip
    status = run.wait()
    num_files = sum(len(names) for _, _, names in os.walk(os.fsencode(folder)))
    came.done["hostile files"] += num_files
    words = run.words()
    if not came.expect(
        status in (0, 1, 3) and "Traceback" not in words, "runs that ended well", f"status {status}: {run.last_words()}"
    ):
        return
    told = json.loads(words[words.index("{") : words.rindex("}") + 1])["stages"][0]
    ended = sum(told["counts"].get(name, 0) for name in ("videos_processed", "videos_failed", "videos_open"))
    counted = ended + sum(sum(endings.values()) for endings in told["left_out"].values())
    came.expect(
        counted == num_files, "rounds in which every file was counted", f"{counted} of {num_files} files counted"
    )
    counts = told["counts"]
    came.done["files that gave clips"] += counts["videos_processed"]
    came.done["files that were refused or failed, with a reason"] += counts.get("videos_failed", 0)
    # What a link leads to may come back, so such a failure is open; all others are final.
    came.expect(
        counts.get("videos_open", 0) == links_to_nothing,
        "rounds in which only links to nothing are tried again",
        f"{counts}",
    )

"""What cannot work is refused before a cluster is started, a model is loaded or the output folder is made."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap

import pytest

PROGRAM = """
import json, sys
import distributed
from curator_dask.cli.app import app

started = []
for kind in (distributed.LocalCluster, distributed.Client):
    kind.__init__ = lambda self, *args, kind=kind, **more: started.append(kind.__name__)

def ends_with(command):
    try:
        app(command)
    except SystemExit as end:
        return end.code

codes = [ends_with(command) for command in json.loads(sys.argv[1])]
print(json.dumps({"codes": codes, "started": started, "torch": "torch" in sys.modules}))
"""


@pytest.fixture(scope="module")
def commands(tmp_path_factory, few_videos) -> dict[str, tuple[int, list[str]]]:
    """What is wrong → the exit code and the command."""
    out = str(tmp_path_factory.mktemp("refused") / "out")
    (tmp_path_factory.getbasetemp() / "file").touch()
    in_file = str(tmp_path_factory.getbasetemp() / "file" / "out")
    run = ["run", "--video-dir", str(few_videos), "--output-path", out]
    return {
        "a missing folder": (2, ["run", "--video-dir", "/nonesuch", "--output-path", out]),
        "a glob of nothing": (2, ["split", "--video-dir", "/nonesuch/*.mp4", "--output-path", out]),
        "no clips": (2, ["embed", "--input-path", "/nonesuch"]),
        "nothing to calibrate with": (2, ["calibrate", "--input-path", "/nonesuch", "--output-path", out]),
        "no vectors": (2, ["kmeans", "--input-path", "/nonesuch", "--output-path", out]),
        "an output below a file": (2, [*run[:-1], in_file]),
        "an output that cannot be made": (2, [*run[:-1], "/proc/out"]),
        "eps": (2, [*run, "--eps", "-1"]),
        "a recall of nothing": (2, [*run, "--recall", "0.99"]),
        "a recall": (2, [*run, "--cross-cluster", "--recall", "2"]),
        "a rule": (2, [*run, "--rule", "chance"]),
        "a model": (2, [*run, "--embedding-algorithm", "internvideo3"]),
        "a model's folder": (2, [*run, "--embedding-algorithm", "hf:/nonesuch"]),
        "decisions by hand": (2, [*run, "--overrides", "/nonesuch.csv"]),
        "a reference": (2, [*run, "--against", "/nonesuch"]),
        "an encoder": (6, [*run, "--transcode-encoder", "h264_nvenc"]),
        "a device": (5, [*run, "--device", "gpu"]),
        "an address without a port": (7, [*run, "--scheduler-address", "tcp://127.0.0.1"]),
        "a protocol": (7, [*run, "--scheduler-address", "nonsense://x:1"]),
        "a port where nobody listens": (7, [*run, "--scheduler-address", "tcp://127.0.0.1:9"]),
        "a scheduler of a step": (
            7, ["split", *run[1:], "--no-generate-embeddings", "--scheduler-address", "tcp://127.0.0.1:9"],
        ),
    }  # fmt: skip


def test_nothing_is_started(commands, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(PROGRAM))
    given = json.dumps([command for _, command in commands.values()])
    environment = {"PYTHONPATH": ":".join(sys.path), "PATH": "/usr/bin:/bin", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, program, given], capture_output=True, text=True, check=True, env=environment, cwd=tmp_path
    )
    told = json.loads(done.stdout.splitlines()[-1])
    assert dict(zip(commands, told["codes"], strict=True)) == {what: code for what, (code, _) in commands.items()}
    assert (told["started"], told["torch"]) == ([], False), done.stderr
    assert done.stderr.count("curator-dask: ") == len(commands)
    assert list(tmp_path.iterdir()) == [program]


@pytest.mark.parametrize(
    ("wrong", "not_loaded"),
    [
        (["--eps", "-1"], ["pyarrow", "curator_dask.stages.split.stage"]),
        (["--n-clusters", "0"], ["pyarrow", "curator_dask.stages.split.stage"]),
        (["--split", "train"], ["pyarrow", "curator_dask.stages.split.stage"]),
        (["--fixed-stride-split-duration", "-1"], ["pyarrow", "curator_dask.workflow"]),
        (["--keep", "best"], ["pyarrow", "torch"]),
    ],
)
def test_wrong_parameters_are_told_before_their_libraries_are_loaded(wrong, not_loaded, tmp_path):
    """So the answer comes within a second also on a slow machine."""
    program = "import sys; from curator_dask.cli.app import app\ntry: app()\nfinally: print(*sys.modules)"
    command = [sys.executable, "-c", program, "run", "--video-dir", str(tmp_path), "--output-path", "out", *wrong]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert not set(not_loaded) & set(done.stdout.split())

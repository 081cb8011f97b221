"""The command line in real processes: exit codes, one line per error, results on stdout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from tests.running_workers import variables_for
from tests.trees import times

COMMANDS = (
    "run",
    "split",
    "embed",
    "kmeans",
    "pairwise",
    "identify",
    "dedup-new",
    "export",
    "verify",
    "samples",
    "doctor",
    "calibrate",
    "models",
)


def cli(
    *arguments: str, env: dict[str, str] | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "curator_dask", *map(str, arguments)],
        capture_output=True, text=True, timeout=280, check=False, cwd=cwd, env={**os.environ, **(env or {})},
    )  # fmt: skip


def test_help_names_every_command_and_is_quick():
    took = []
    for _ in range(3):
        start = time.monotonic()
        done = cli("--help")
        took.append(time.monotonic() - start)
    assert done.returncode == 0
    assert all(command in done.stdout for command in COMMANDS)
    # Imports decide how quick it is, so they are asserted, not the time.
    loaded = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "curator_dask", "--help"], capture_output=True, text=True, check=True
    ).stderr
    names = {line.rsplit("|", 1)[-1].strip() for line in loaded.splitlines()}
    assert not names & {"torch", "dask", "distributed", "pyarrow", "pandas", "numpy", "scipy", "fsspec", "av", "decord"}
    print("help took", sorted(took))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command):
    done = cli(command, "--help")
    assert done.returncode == 0
    assert "Usage: curator-dask " + command in done.stdout


@pytest.mark.parametrize(
    "flag",
    [
        "--video-dir", "--model-dir", "--output-clip-path", "--output-path", "--video-limit", "--splitting-algorithm",
        "--fixed-stride-split-duration", "--fixed-stride-stride", "--fixed-stride-min-clip-length-s", "--limit-clips",
        "--transcode-encoder", "--transcode-encoder-threads", "--transcode-use-input-video-bit-rate",
        "--transcode-bit-rate", "--embedding-algorithm", "--no-generate-embeddings", "--no-upload-clips", "--dry-run",
        "--verbose",
    ],
)  # fmt: skip
def test_split_has_every_flag_of_the_workflow(flag):
    assert flag in _split_help()


def _split_help(cache: list[str] = []) -> str:  # noqa: B006  one process for all flags
    if not cache:
        cache.append(cli("split", "--help-all", env={"COLUMNS": "200"}).stdout)
    return cache[0]


def test_version():
    from curator_dask import __version__

    assert cli("--version").stdout.strip() == f"curator-dask {__version__}"


def test_flag_environment_file_default_in_this_order(tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text("video_dir: from-file\noutput-path: out-file\nlimit_clips: 7\neps: 0.3\n")
    env = {"CURATOR_DASK_LIMIT_CLIPS": "5", "CURATOR_DASK_EPS": "0.2"}
    done = cli("run", "--config", config, "--eps", "0.1", "--print-config", env=env)
    assert done.returncode == 0, done.stderr
    resolved = yaml.safe_load(done.stdout)
    assert resolved["eps"] == 0.1
    assert resolved["limit_clips"] == 5
    assert resolved["video_dir"] == "from-file"
    assert resolved["output_path"] == "out-file"
    assert resolved["fixed_stride_split_duration"] == 10.0


def test_one_value_in_a_file_will_do_for_a_flag_that_may_be_repeated(tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text("video_dir: v\noutput_path: o\nagainst: evaluation\ninclude: '*.mp4'\n")
    shown = yaml.safe_load(cli("run", "--config", config, "--print-config").stdout)
    assert (shown["against"], shown["include"]) == (["evaluation"], ["*.mp4"])
    repeated = cli("run", "--config", config, "--against", "a", "--against", "b", "--print-config").stdout
    assert yaml.safe_load(repeated)["against"] == ["a", "b"]


def test_printed_config_is_a_config(tmp_path):
    first = cli("split", "--video-dir", "v", "--output-clip-path", "o", "--no-upload-clips", "--print-config")
    (tmp_path / "c.yaml").write_text(first.stdout)
    second = cli("split", "--config", tmp_path / "c.yaml", "--print-config")
    assert second.returncode == 0, second.stderr
    assert second.stdout == first.stdout
    assert yaml.safe_load(second.stdout)["upload_clips"] is False


@pytest.mark.parametrize(
    ("content", "message"),
    [("limit_clip: 3\n", "sets limit_clip"), ("- a\n", "must hold"), ("a: [\n", "cannot read")],
)
def test_a_bad_config_is_refused(tmp_path, content, message):
    (tmp_path / "c.yaml").write_text(content)
    done = cli("split", "--config", tmp_path / "c.yaml", "--video-dir", "v", "--output-path", "o")
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("split", "--video-dir", "missing", "--output-path", "o"), 2, "missing does not exist"),
        (("split", "--video-dir", ".", "--output-path", "o", "--fixed-stride-split-duration", "0"), 2, "split_duration"),
        (("split", "--video-dir", ".", "--output-path", "o", "--transcode-encoder", "av1"), 2, "transcode_encoder"),
        (("run", "--video-dir", ".", "--output-path", "o", "--split", "train=2"), 2, "train"),
        (("run", "--video-dir", "nope://x", "--output-path", "o"), 2, "nope://x"),
        (("kmeans", "--input-path", "missing", "--output-path", "o"), 2, "missing does not exist"),
        (("export", "--input-path", "x", "--output-path", "o"), 2, "duplicates_path"),
        (("run", "--video-dir", ".", "--output-path", "o", "--n-clusters", "0"), 2, "n_clusters (0) must be"),
        (("verify", "missing"), 2, "manifest.json"),
        (("kmeans", "--input-path", "x", "--output-path", "o"), 2, "x does not exist"),
        (("embed", "--input-path", ".", "--embedding-algorithm", "internvideo3"), 2, "internvideo3"),
        (("calibrate", "--input-path", ".", "--output-path", "o", "--known-duplicates", "no.csv"), 2, "cannot read no.csv"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_a_code(tmp_path, arguments, code, message):
    done = cli(*arguments, cwd=tmp_path)
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode == code
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_is_a_file_is_refused_before_any_work(few_videos, tmp_path):
    (tmp_path / "file").touch()
    done = cli("run", "--video-dir", few_videos, "--output-path", tmp_path / "file" / "out", "--dry-run")
    assert (done.returncode, done.stdout) == (2, "")
    assert "cannot be a folder" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture(scope="module")
def workers(tmp_path_factory, cluster) -> dict[str, str]:
    """Variables that name workers which run already, as starting some takes most of a command's time."""
    return variables_for(cluster, tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def stage_by_stage(tmp_path_factory, few_videos, workers) -> Path:
    """The output of every stage, each run as a command of its own. The first two start workers of their own."""
    root = tmp_path_factory.mktemp("cli")
    steps = [
        ("split", "--video-dir", few_videos, "--output-clip-path", root / "out", "--no-generate-embeddings"),
        ("embed", "--input-path", root / "out"),
        ("kmeans", "--input-path", root / "out" / "pdqf_tmk_nobars_embd_parquet", "--output-path", root / "k", "--n-clusters", 1),
        ("pairwise", "--input-path", root / "k", "--output-path", root / "p"),
        ("identify", "--input-path", root / "p", "--kmeans-path", root / "k", "--output-path", root / "d", "--eps", 0.4,
         "--clips-path", root / "out"),
        ("export", "--input-path", root / "out", "--duplicates-path", root / "d", "--output-path", root / "data"),
    ]  # fmt: skip
    for number, step in enumerate(steps):
        done = cli(*step, env=workers if number > 1 else None)
        assert done.returncode == 0, (step, done.stdout, done.stderr)
    return root


def test_the_stages_one_by_one(stage_by_stage):
    assert len((stage_by_stage / "d" / "keep.txt").read_text().split()) == 2
    assert len((stage_by_stage / "d" / "remove.txt").read_text().split()) == 2
    done = cli("verify", stage_by_stage / "data", "--duplicates-path", stage_by_stage / "d")
    assert (done.returncode, done.stdout.strip()) == (0, "1 shard, 2 clips, 0 faults")


def test_verify_finds_a_flipped_byte(stage_by_stage, tmp_path):
    import shutil

    copy = tmp_path / "data"
    shutil.copytree(stage_by_stage / "data", copy)
    shard = copy / "train" / "000000.tar"
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    done = cli("verify", copy)
    assert done.returncode == 1
    assert "000000.tar" in done.stdout


def test_verify_says_what_becomes_of_what_a_stopped_run_left(stage_by_stage, tmp_path):
    import shutil

    copy = tmp_path / "d"
    shutil.copytree(stage_by_stage / "d", copy)
    left = copy / ".curator" / "identify" / "units" / "cluster-000099.arrow"
    left.write_bytes(b"rows")
    done = cli("verify", copy)
    assert (done.returncode, done.stdout.splitlines()[1:]) == (1, [
        f"  identify: {left.relative_to(copy)}: a run that was stopped left it",
        "by stage: identify 1",
        "a stopped run goes on with the same command as before; what it left can be removed by prune --remove",
    ])  # fmt: skip
    assert cli("prune", copy, "--remove").returncode == 0
    assert cli("verify", copy).returncode == 0


def test_a_parquet_index_instead_of_shards(stage_by_stage, workers, tmp_path):
    import pyarrow.parquet as pq

    out = tmp_path / "index"
    done = cli("export", "--input-path", stage_by_stage / "out", "--duplicates-path", stage_by_stage / "d",
               "--output-path", out, "--format", "parquet", env=workers)  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = pq.read_table(out / "index.parquet").to_pylist()
    assert {row["kept"] for row in rows} == {True}
    assert all((out / row["path"]).stat().st_size == row["num_bytes"] for row in rows)


def test_a_folder_of_ready_clips_can_be_embedded(stage_by_stage, workers, tmp_path):
    done = cli("embed", "--input-path", stage_by_stage / "out" / "clips", "--output-path", tmp_path, env=workers)
    assert done.returncode == 0, done.stderr
    assert "4 embeddings" in done.stdout


def test_another_model_in_a_used_folder_gets_a_folder_of_its_own(stage_by_stage, workers):
    done = cli("embed", "--input-path", stage_by_stage / "out", "--embedding-algorithm", "pdqf_tmk_level1", env=workers)
    assert done.returncode == 0, done.stderr
    assert (stage_by_stage / "out" / "pdqf_tmk_level1_embd_parquet" / "_fingerprint.json").exists()


def test_a_printed_configuration_holds_no_secrets():
    options = ("secret=hush", "key=hush", "client_kwargs.aws_session_token=hush", "client_kwargs.endpoint_url=http://a")
    flags = [part for option in options for part in ("--storage-option", option)]
    done = cli("run", "--video-dir", "v", "--output-path", "s3://b/o", *flags, "--print-config")
    assert "hush" not in done.stdout + done.stderr
    assert yaml.safe_load(done.stdout)["storage_option"] == ["client_kwargs.endpoint_url=http://a"]
    assert (
        "# left out, as they may be secret: --storage-option secret, key, client_kwargs.aws_session_token"
        in done.stdout
    )


def test_dry_run_writes_nothing_and_tells_the_plan(few_videos, tmp_path):
    done = cli("run", "--video-dir", few_videos, "--output-path", tmp_path / "out", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "4 clips planned" in done.stdout
    assert times(tmp_path) == {}


def test_the_summary_says_what_was_left_out(few_videos, tmp_path):
    videos = tmp_path / "in"
    shutil.copytree(few_videos, videos)
    (videos / "notes.TXT").touch()
    folders = ("--video-dir", videos, "--output-path", videos / "out")
    done = cli("run", *folders, "--include", "scene_0*", "--include", "*.TXT", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "2 clips planned" in done.stdout
    told = done.stdout.partition("split: files of the input that were left out\n")[2]
    assert "  2 are not chosen by --include and --exclude: .mkv 1, .mp4 1\n" in told
    assert ".txt 1" in told
    assert "the output folder lies in the folder of the videos" in told


def test_progress_off_a_terminal_is_a_few_lines(few_videos, tmp_path):
    done = cli("split", "--video-dir", few_videos, "--output-path", tmp_path / "out", "--video-limit", 1)
    assert done.returncode == 0
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert lines[:2] == ["split: 0 of 1 videos", "connecting to the Dask scheduler"]
    assert lines[2].startswith("Dask dashboard: http://127.0.0.1")
    assert all(line.startswith("embed: ") for line in lines[3:])


def test_progress_on_a_terminal_is_on_stderr_alone(few_videos, tmp_path):
    """One bar per stage, with its rate; stdout holds the results alone."""
    import pty

    terminal, other_end = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "curator_dask", "split", "--video-dir", few_videos, "--output-path", tmp_path / "out",
         "--limit-clips", "1", "--video-limit", "1"],
        stdout=subprocess.PIPE, stderr=other_end, env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
    )  # fmt: skip
    os.close(other_end)
    shown = b""
    try:
        while chunk := os.read(terminal, 65536):
            shown += chunk
    except OSError:  # the other end of the terminal is closed
        pass
    finally:
        os.close(terminal)
    stdout = process.communicate(timeout=60)[0].decode()
    assert process.returncode == 0
    text = shown.decode()
    assert all(word in text for word in ("split", "embed", "1/1", "videos", "/s"))
    assert "planned" in stdout
    assert "\x1b" not in stdout

"""Children that hang, shout, eat memory, or outlive their parent."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from curator_dask.errors import MediaError, ParameterError
from curator_dask.video.process import sandbox

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="limits of the Linux kernel")


def python(code: str) -> list[str]:
    return [sys.executable, "-c", textwrap.dedent(code)]


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def wait_for_death(pid: int) -> bool:
    give_up = time.monotonic() + 10
    while is_alive(pid) and time.monotonic() < give_up:
        time.sleep(0.01)
    return not is_alive(pid)


def test_output_errors_and_code_come_back() -> None:
    finished = sandbox.run(
        python("import sys; print('out'); print('a\\nb', file=sys.stderr); sys.exit(3)"), timeout_s=20
    )
    assert (finished.returncode, finished.stdout, finished.stderr_tail) == (3, b"out\n", "a\nb\n")
    assert finished.stderr_lines == 2


def test_stdin_is_empty() -> None:
    assert sandbox.run(python("import sys; print(len(sys.stdin.read()))"), timeout_s=20).stdout == b"0\n"


def test_a_child_that_ignores_sigterm_is_killed_with_its_own_children_at_the_time_limit(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    code = f"""
        import os, signal, subprocess, sys, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        open({str(pids)!r}, "w").write(f"{{os.getpid()}} {{grandchild.pid}}")
        time.sleep(60)
    """
    with pytest.raises(MediaError, match="within 2 s") as caught:
        sandbox.run(python(code), timeout_s=2)
    assert caught.value.reason == "timeout"
    assert all(wait_for_death(int(pid)) for pid in pids.read_text().split())


def test_a_stream_is_read_in_blocks_and_ends_with_its_rest() -> None:
    with sandbox.stream(python("import sys; sys.stdout.buffer.write(bytes(range(250)))"), timeout_s=20) as child:
        blocks = [child.read(100), child.read(100), child.read(100), child.read(100)]
        finished = child.finish()
    assert b"".join(blocks) == bytes(range(250))
    assert [len(block) for block in blocks] == [100, 100, 50, 0]
    assert finished.returncode == 0


def test_a_stream_fills_a_buffer() -> None:
    buffer = bytearray(6)
    with sandbox.stream(python("print('0123456789', end='')"), timeout_s=20) as child:
        assert child.read_into(buffer) == 6
        assert bytes(buffer) == b"012345"
        assert child.read_into(buffer) == 4


def test_a_stream_that_stalls_ends_with_a_time_out() -> None:
    code = "import sys, time; sys.stdout.write('x' * 10); sys.stdout.flush(); time.sleep(60)"
    with sandbox.stream(python(code), timeout_s=1) as child:
        assert child.read(10) == b"x" * 10
        with pytest.raises(MediaError, match="within 1 s"):
            child.read(10)


def test_a_child_that_closes_stdout_and_lives_on_is_stopped() -> None:
    code = "import os, time; os.close(1); time.sleep(60)"
    with pytest.raises(MediaError, match="within 1 s"):
        sandbox.run(python(code), timeout_s=1)


def test_leaving_the_block_kills_the_child() -> None:
    with sandbox.stream(
        python("import os, time; print(os.getpid(), flush=True); time.sleep(60)"), timeout_s=60
    ) as child:
        pid = int(child.read(1).decode() + read_line(child))
    assert wait_for_death(pid)


def read_line(child: sandbox.Child) -> str:
    text = b""
    while not text.endswith(b"\n"):
        text += child.read(1)
    return text.decode()


def test_much_stderr_blocks_nobody_and_only_its_tail_is_kept() -> None:
    code = "import sys\nfor i in range(20000): print('line', i, file=sys.stderr)\nprint('done')"
    finished = sandbox.run(python(code), timeout_s=60)
    assert finished.stdout == b"done\n"
    assert finished.stderr_lines == 20_000
    assert finished.stderr_tail.endswith("line 19999\n")
    assert len(finished.stderr_tail) <= sandbox.STDERR_TAIL_BYTES


def test_lines_that_are_not_kept_do_not_count() -> None:
    code = "import sys\nfor i in range(100): print('bad' if i % 10 == 0 else 'noise', file=sys.stderr)"
    finished = sandbox.run(python(code), timeout_s=20, keep_line=lambda line: line.startswith(b"bad"))
    assert (finished.stderr_tail, finished.stderr_lines) == ("bad\n" * 10, 10)


def test_too_much_output_is_an_error() -> None:
    with pytest.raises(MediaError, match="over 1000 bytes") as caught:
        sandbox.run(python("print('x' * 10_000_000)"), timeout_s=20, stdout_limit_bytes=1000)
    assert caught.value.reason == "too-much-output"


@linux_only
def test_the_memory_limit_holds() -> None:
    finished = sandbox.run(python("bytearray(2 << 30)"), timeout_s=20, memory_limit_bytes=1 << 30)
    assert finished.returncode == 1
    assert "MemoryError" in finished.stderr_tail


@linux_only
def test_a_child_dies_with_a_parent_that_is_killed() -> None:
    code = f"""
        from curator_dask.video.process import sandbox
        nap = ["{sys.executable}", "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(60)"]
        with sandbox.stream(nap, timeout_s=60) as child:
            while True:
                print(child.read(1).decode(), end="", flush=True)
    """
    environment = {**os.environ, "PYTHONPATH": str(Path(sandbox.__file__).parents[3])}
    with subprocess.Popen(python(code), stdout=subprocess.PIPE, text=True, env=environment) as parent:
        assert parent.stdout is not None
        grandchild = int(parent.stdout.readline())
        assert is_alive(grandchild)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    assert wait_for_death(grandchild)


def test_many_threads_may_start_children_at_once() -> None:
    answers: list[bytes] = []
    threads = [
        threading.Thread(
            target=lambda number=number: answers.append(
                sandbox.run(python(f"print({number})"), timeout_s=60).stdout.strip()
            )
        )
        for number in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [str(number).encode() for number in range(8)]


def test_a_missing_program_says_so() -> None:
    finished = sandbox.run(["/nowhere/ffmpeg"], timeout_s=20)
    assert finished.returncode == 126
    assert "cannot start /nowhere/ffmpeg" in finished.stderr_tail


@pytest.mark.parametrize("timeout_s", [0, -1, float("nan")])
def test_a_time_limit_must_be_positive(timeout_s: float) -> None:
    with pytest.raises(ParameterError, match="timeout_s"):
        sandbox.run(["true"], timeout_s=timeout_s)


def test_with_progress_only_a_child_that_hangs_is_killed(tmp_path: Path) -> None:
    """The time limit begins anew while the file grows, and while nobody reads what the child has to say."""
    code = "import time\nfor n in range(8): open('log', 'a').write('x'); time.sleep(.3)\nprint('done', flush=True)\n"
    hang = code + "time.sleep(60)"

    def read(program: str) -> tuple[bytes, bytes]:
        grown = functools.partial(sandbox.bytes_below, tmp_path)
        with sandbox.stream(python(program), timeout_s=1.5, cwd=tmp_path, progress=grown) as child:
            found = child.read(4)
            time.sleep(3.1 if program == code else 0)
            return found, child.finish(child.read(4)).stdout

    assert read(code) == (b"done", b"\n")
    with pytest.raises(MediaError, match=r"did not get any further within 1\.5 s"):
        read(hang)

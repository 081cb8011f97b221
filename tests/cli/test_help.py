"""What ``--help`` shows, and what shells complete."""

from __future__ import annotations

import os
import pty
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from curator_dask.cli.app import COMMANDS, PANELS_OF_COMMANDS, app
from curator_dask.cli.help.examples import EXAMPLES
from curator_dask.cli.help.first_screen import FIRST_SCREEN, MOST_OPTIONS
from curator_dask.cli.options.panels import PANELS
from curator_dask.data.tables import FILETYPES
from curator_dask.dedup.decide.rules import RULES
from curator_dask.dedup.similarity.scope import SCOPES
from curator_dask.export.plan import ORDERS
from curator_dask.models.base import DTYPES, FRAME_SAMPLINGS
from curator_dask.runtime.device import DEVICES
from curator_dask.stages.embed.parameters import FRAMES_FROM
from curator_dask.stages.export.parameters import FORMATS, MEDIA, PLAIN
from curator_dask.video.cut.encoders import ENCODERS
from curator_dask.video.original_ids import IDS

GROUP: Any = typer.main.get_command(app)


def shown(*arguments: str, **variables: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "curator_dask", *arguments],
        capture_output=True, text=True, check=True, env={**os.environ, "COLUMNS": "120", **variables},
    )  # fmt: skip
    return done.stdout


def flags(text: str) -> list[str]:
    return re.findall(r"^  (?:-h, )?(--[a-z-]+)", text, flags=re.MULTILINE)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_first_screen_has_few_options_and_every_required_one(name: str) -> None:
    parameters = {one.name: one for one in GROUP.commands[name].params if one.name != "help_all"}
    first = FIRST_SCREEN.get(name, "").split() if len(parameters) > MOST_OPTIONS else list(parameters)
    assert len(first) == len(set(first)) <= MOST_OPTIONS
    assert set(first) <= parameters.keys()
    assert {one.name for one in parameters.values() if one.required} <= set(first)


def test_every_option_of_a_run_has_a_panel_and_all_are_shown_on_demand() -> None:
    parameters = GROUP.commands["run"].params
    assert {one.rich_help_panel for one in parameters} == set(PANELS)
    first, everything = shown("run", "--help"), shown("run", "--help-all")
    assert len(flags(first)) == MOST_OPTIONS
    assert f"{len(parameters) - 1 - MOST_OPTIONS} more options: curator-dask run --help-all" in first
    assert len(flags(everything)) == len(parameters) + 1  # --help itself
    assert [panel for panel in PANELS if f"{panel}:\n" in everything] == list(PANELS)


def test_every_command_stands_in_one_panel() -> None:
    names = [name for panel in PANELS_OF_COMMANDS.values() for name in panel]
    assert sorted(names) == sorted(GROUP.commands)


@pytest.mark.parametrize(("name", "command"), [(name, line) for name, lines in EXAMPLES.items() for _, line in lines])
def test_examples_are_commands_that_are_understood(name: str, command: str) -> None:
    program, called, *arguments = shlex.split(command)
    assert program == "curator-dask"
    assert name in (program, called)
    GROUP.commands[called].make_context(called, arguments)


@pytest.mark.parametrize(
    ("command", "parameter", "values"),
    [
        ("run", "rule", ("auto", *RULES)),
        ("run", "scope", SCOPES),
        ("run", "order", ORDERS),
        ("run", "dtype", DTYPES),
        ("run", "frame_sampling", FRAME_SAMPLINGS),
        ("run", "frames_from", FRAMES_FROM),
        ("run", "device", DEVICES),
        ("run", "format", FORMATS),
        ("run", "media", MEDIA),
        ("run", "plain", PLAIN),
        ("run", "transcode_encoder", ENCODERS),
        ("run", "ids", IDS),
        ("kmeans", "input_filetype", tuple(FILETYPES)),
    ],
)
def test_choices_are_those_of_the_library(command: str, parameter: str, values: tuple[str, ...]) -> None:
    (option,) = [one for one in GROUP.commands[command].params if one.name == parameter]
    assert option.metavar == f"[{'|'.join(values)}]"


def test_help_needs_no_rich_and_has_no_colours_where_it_is_not_a_terminal() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "curator_dask", "run", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    loaded = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines()}
    assert not loaded & {"rich", "torch", "dask", "pyarrow", "pandas", "numpy", "scipy", "fsspec", "yaml"}
    assert "\x1b" not in done.stdout


def on_a_terminal(*arguments: str, **variables: str) -> str:
    """What the command prints where its output is a terminal."""
    terminal, other_end = pty.openpty()
    command = [sys.executable, "-m", "curator_dask", *arguments]
    with subprocess.Popen(command, stdout=other_end, env={**os.environ, "TERM": "xterm", **variables}):
        os.close(other_end)
        printed = b"".join(chunks(terminal))
    os.close(terminal)
    return printed.decode()


def chunks(terminal: int) -> Iterator[bytes]:
    try:
        while chunk := os.read(terminal, 65536):
            yield chunk
    except OSError:  # the other end of the terminal is closed
        return


def test_headings_are_bold_unless_colours_are_not_wanted() -> None:
    assert "\x1b[1mSplitting" in on_a_terminal("run", "--help")
    assert "\x1b" not in on_a_terminal("run", "--help", NO_COLOR="1")


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [(["run", "--outptu-path", "x"], "--output-path"), (["identfy"], "identify"), (["run", "--rul", "x"], "--rule")],
)
def test_a_wrong_name_is_told_the_right_one(arguments: list[str], meant: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "curator_dask", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert meant in done.stderr.splitlines()[-1]


COMPLETED = [("curator-dask ident", "identify"), ("curator-dask run --sco", "--scope"), ("curator-dask run --scope cr", "cross"),
             ("curator-dask embed --embedding-algorithm internv", "internvideo2")]  # fmt: skip


@pytest.fixture(scope="module")
def path_with_command(tmp_path_factory: pytest.TempPathFactory) -> str:
    """PATH with a folder in front that holds the command `curator-dask`."""
    folder = tmp_path_factory.mktemp("bin")
    (folder / "curator-dask").write_text(f'#!/bin/sh\nexec {sys.executable} -m curator_dask "$@"\n')
    (folder / "curator-dask").chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


@pytest.mark.parametrize(("line", "expected"), COMPLETED)
def test_bash_completes(line: str, expected: str, path_with_command: str) -> None:
    script = (
        'eval "$(_CURATOR_DASK_COMPLETE=source_bash curator-dask)"\n'
        f"COMP_WORDS=({line}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))\n"
        "$(complete -p curator-dask | sed -E 's/.*-F ([^ ]+).*/\\1/') curator-dask\n"
        'printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    done = subprocess.run(
        ["bash", "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PATH": path_with_command},
    )
    assert done.stdout.split() == [expected]


@pytest.mark.parametrize(("line", "expected"), COMPLETED[1:3])
@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_zsh_and_fish_are_told_the_same(shell: str, line: str, expected: str) -> None:
    """Their scripts ask the command in this way."""
    asked = {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    assert expected in shown(_CURATOR_DASK_COMPLETE=f"complete_{shell}", **asked)


@pytest.mark.parametrize(
    ("shell", "file"),
    [("bash", ".bash_completions/curator-dask.sh"), ("zsh", ".zfunc/_curator-dask"),
     ("fish", ".config/fish/completions/curator-dask.fish")],
)  # fmt: skip
def test_completion_can_be_shown_and_installed(shell: str, file: str, tmp_path: Path, path_with_command: str) -> None:
    named = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1", "HOME": str(tmp_path), "PATH": path_with_command}
    script = shown("--show-completion", shell, **named)
    assert f"complete_{shell}" in script
    shown("--install-completion", shell, **named)
    assert (tmp_path / file).read_text().strip() == script.strip()

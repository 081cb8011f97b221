"""Write the pages of the documentation that follow from the code: every command with its options, and the public names.

    python -m tools.reference_pages            # writes docs/commands.md and docs/api.md

A test compares the pages with the code, so run it after a change of an option or of a docstring.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import curator_dask

DOCS = Path(__file__).resolve().parents[1] / "docs"
COMMANDS_HEAD = """# Every command and option

*This page is made from the code by `python -m tools.reference_pages`; `curator-dask COMMAND --help-all` prints the same.*

A value comes from the flag, else from the environment variable in the last column, else from the file of `--config`
(a name without its dashes, such as `fixed_stride_stride`), else from the default.
"""
API_HEAD = """# Python API

*This page is made from the code by `python -m tools.reference_pages`; `help(name)` prints the same.*

Everything here is imported from `curator_dask`. Parameters have the same names as on the command line.
"""


def pages() -> dict[str, str]:
    """The text of each page by its name."""
    return {"commands.md": commands_page(), "api.md": api_page()}


def commands_page() -> str:
    sections = [command_section(name, command) for name, command in all_commands()]
    return "\n".join([COMMANDS_HEAD, *sections])


def all_commands() -> Iterator[tuple[str, Any]]:
    """Each command with its full name (``models list``), in the order of ``--help``."""
    import typer

    from curator_dask.cli.app import app

    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        inner = getattr(command, "commands", None)
        yield from ((f"{name} {part}", one) for part, one in inner.items()) if inner else [(name, command)]


def command_section(name: str, command: Any) -> str:
    shown = [option for option in command.params if not option.hidden]
    lines = [f"## `curator-dask {name}`", "", sentences(command.help or ""), ""]
    for panel, options in groupby(
        sorted(shown, key=lambda one: panel_order(one, shown)), key=lambda one: one.rich_help_panel
    ):
        lines += [f"**{panel}**", ""] if panel else []
        lines += ["| option | meaning | default | environment |", "|---|---|---|---|"]
        lines += [option_row(option) for option in options] + [""]
    return "\n".join(lines)


def panel_order(option: Any, shown: list[Any]) -> int:
    """The place of the first option of the same panel: options of one panel stay together."""
    return next(place for place, one in enumerate(shown) if one.rich_help_panel == option.rich_help_panel)


def option_row(option: Any) -> str:
    is_argument = option.param_type_name == "argument"
    names = [option.display_name_raw] if is_argument else [*option.opts, *option.secondary_opts]
    shown = " ".join(f"`{name}`" for name in names)
    meaning = table_text(option.help or "") + choices(option)
    variable = f"`{option.envvar}`" if option.envvar else ""
    return f"| {shown} | {meaning} | {default_shown(option)} | {variable} |"


def choices(option: Any) -> str:
    """The values of an option that takes one of a few, which ``--help`` shows as ``[auto|cpu|gpu]``."""
    shown = option.metavar or ""
    values = shown[1:-1].replace("k-means||", "k-means\0").split("|") if shown.startswith("[") else []
    named = [f"`{table_text(value)}`".replace("\0", "\\|\\|") for value in values]
    return f" One of {', '.join(named)}." if named else ""


def default_shown(option: Any) -> str:
    default = option.default
    if option.required:
        return "required"
    if default is None or callable(default) or default in ((), []):
        return ""
    if isinstance(default, bool):
        return "yes" if default else "no"
    return f"`{table_text(str(getattr(default, 'value', default)))}`"


def table_text(text: str) -> str:
    return sentences(text).replace("|", "\\|").replace("\n", " ")


def sentences(text: str) -> str:
    """Docstrings as Markdown: marks of reStructuredText, and quotes around patterns, become those of Markdown."""
    text = re.sub(r"``(.+?)``", r"`\1`", text.replace("\f", ""))
    text = re.sub(r"'([^'`\s]*\*[^'`\s]*)'", r"`\1`", text)
    between = text.split("`")  # every second piece is code, and stays as it is
    return "`".join(piece if place % 2 else piece.replace("<", "&lt;") for place, piece in enumerate(between)).strip()


def api_page() -> str:
    names = [name for name in curator_dask.__all__ if not name.startswith("__")]
    return "\n".join([API_HEAD, *(section for title, chosen in API_PARTS for section in part(title, names, chosen))])


WITH_METHODS = ("ClipWriterStage", "Pipeline", "RankingStrategy", "StageResult", "Workflow", "WorkflowResult")
API_PARTS: tuple[tuple[str, Callable[[Any], bool]], ...] = (
    ("Functions", inspect.isroutine),
    ("Stages and workflows", lambda value: inspect.isclass(value) and not is_error(value) and hasattr(value, "run")),
    ("Other classes", lambda value: inspect.isclass(value) and not is_error(value) and not hasattr(value, "run")),
    ("Errors", lambda value: is_error(value)),
)


def is_error(value: Any) -> bool:
    return inspect.isclass(value) and issubclass(value, Exception)


def part(title: str, names: list[str], chosen: Callable[[Any], bool]) -> Iterator[str]:
    yield f"## {title}\n"
    for name in names:
        value = getattr(curator_dask, name)
        if chosen(value):
            yield f"### `{name}`\n\n{signature_block(name, value)}{docstring(value)}\n{methods(name, value)}"


def signature_block(name: str, value: Any) -> str:
    if is_error(value) or not (inspect.isroutine(value) or dataclasses.is_dataclass(value)):
        return ""
    shown = [shown_parameter(one) for one in inspect.signature(value).parameters.values()]
    inside = ", ".join(shown)
    body = inside if len(inside) < 90 else "\n" + "".join(f"    {one},\n" for one in shown)
    return f"```text\n{name}({body})\n```\n\n"


def methods(name: str, value: Any) -> str:
    """The public methods of the classes that are used through them."""
    if name not in WITH_METHODS:
        return ""
    own = {one: getattr(value, one) for one in vars(value) if not one.startswith("_")}
    lines = [member_line(one, member) for one, member in own.items()]
    return "\n".join(["**Members**", "", *filter(None, lines), "", ""])


def member_line(name: str, member: Any) -> str:
    """A method with its parameters, or a property; nothing for a default value."""
    said = sentences((inspect.getdoc(member) or "").split("\n\n")[0].replace("\n", " "))
    colon = f": {said}" if said else ""
    if inspect.isroutine(member):
        shown = [shown_parameter(one) for one in inspect.signature(member).parameters.values() if one.name != "self"]
        return f"* `{name}({', '.join(shown)})`{colon}"
    return f"* `{name}`{colon}" if isinstance(member, (property, functools.cached_property)) else ""


def shown_parameter(one: inspect.Parameter) -> str:
    stars = {inspect.Parameter.VAR_KEYWORD: "**", inspect.Parameter.VAR_POSITIONAL: "*"}.get(one.kind, "")
    default = "" if one.default is inspect.Parameter.empty else f"={one.default!r}"
    return f"{stars}{one.name}{'=…' if '<factory>' in default else default}"


def docstring(value: Any) -> str:
    """The docstring as Markdown: parameters become a list."""
    lines = (inspect.getdoc(value) or "").splitlines()
    headings = [place for place, line in enumerate(lines) if line.strip() in ("Args:", "Returns:", "Raises:")]
    text = sentences("\n".join(lines[: headings[0]] if headings else lines))
    return "\n".join([text, "", *parameter_lists(lines[headings[0] :] if headings else [])]).rstrip() + "\n"


def parameter_lists(lines: list[str]) -> Iterator[str]:
    for line in lines:
        entry = re.match(r"    (\w+): (.*)", line)
        if entry:
            yield f"* `{entry[1]}`: {sentences(entry[2])}"
        elif line.endswith(":") and not line.startswith(" "):
            yield f"\n**{ {'Args:': 'Parameters'}.get(line, line[:-1]) }**\n"
        else:
            yield f"  {sentences(line)}" if line.strip() else ""


def main() -> None:
    for name, text in pages().items():
        (DOCS / name).write_text(text, encoding="utf-8")
        print(f"wrote docs/{name}")


if __name__ == "__main__":
    main()

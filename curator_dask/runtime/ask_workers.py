"""Ask the workers of a cluster something, also one that starts them only when there is work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def ask_workers(client: Any, function: Callable[..., Any], *arguments: Any, timeout_s: float) -> set[Any]:
    """The different answers of all workers. Where there are none, that of the first one that comes within `timeout_s`.

    An adaptive cluster may rest without workers, and starts some for a task. A worker that leaves while it is asked has no
    answer. Raises TimeoutError where no worker comes, and what `function` raises.
    """
    answers = _answers_of_all(client, function, arguments)
    if answers:
        return answers
    asked = client.submit(function, *arguments, pure=False)
    try:
        return {asked.result(timeout=timeout_s)}
    finally:
        asked.cancel()


def _answers_of_all(client: Any, function: Callable[..., Any], arguments: tuple[Any, ...]) -> set[Any]:
    found = client.run(function, *arguments, on_error="return").values()
    answers = [answer for answer in found if not isinstance(answer, OSError)]  # such as a closed connection
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return set(answers)

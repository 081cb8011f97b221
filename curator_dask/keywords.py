"""Parameters by name: a wrong name is answered with the right one, and a repr shows only what is not the default."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any, TypeVar, cast

from curator_dask.errors import UnknownParameterError

T = TypeVar("T", bound=Callable[..., Any])
LONGEST_VALUE = 80
"""Characters of a value in a repr."""


def with_suggestions(thing: T) -> T:
    """The class or function, which answers an unknown keyword with the name that was probably meant.

    A class also gets a repr that leaves defaults out.
    """
    if not isinstance(thing, type):
        return cast("T", _answering(thing, thing.__name__))
    thing.__init__ = _answering(thing.__init__, thing.__name__)  # type: ignore[misc]
    thing.__repr__ = _repr_of_choices  # type: ignore[assignment]
    return thing


def _answering(function: Any, name: str) -> Any:
    known = [one.name for one in inspect.signature(function).parameters.values() if one.kind not in _NOT_BY_NAME]

    @functools.wraps(function)
    def answer(*args: Any, **keywords: Any) -> Any:
        refuse_unknown(name, keywords, known)
        return function(*args, **keywords)

    return answer


_NOT_BY_NAME = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def refuse_unknown(name: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Raise UnknownParameterError for the first keyword that is not known, with the name that was probably meant."""
    names = [one for one in known if one != "self"]
    for keyword in given:
        if keyword not in names:
            meant = difflib.get_close_matches(keyword, names, n=1)
            advice = f"did you mean {meant[0]}?" if meant else f"there are: {', '.join(names)}"
            raise UnknownParameterError(f"{name} has no parameter {keyword}: {advice}")


def _repr_of_choices(self: Any) -> str:
    """The parameters that are not at their defaults, those that a repr may show."""
    shown = [one for one in dataclasses.fields(self) if one.repr and not _is_default(self, one)]
    texts = (f"{one.name}={_short(getattr(self, one.name))}" for one in shown)
    return f"{type(self).__name__}({', '.join(texts)})"


def _is_default(owner: Any, one: dataclasses.Field[Any]) -> bool:
    value = getattr(owner, one.name)
    usual = one.default if one.default_factory is dataclasses.MISSING else one.default_factory()
    return type(value) is type(usual) and bool(value == usual) if not hasattr(value, "shape") else False


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 3]}..."

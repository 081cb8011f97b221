"""Write the decisions to files, on workers: in parts, and up to a size also as tables and lists of all clips."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from curator_dask.files.layout import decision_part
from curator_dask.files.names import counted
from curator_dask.runtime.state import StageState
from curator_dask.runtime.units import Unit, run_units
from curator_dask.stages.base import RunContext
from curator_dask.stages.identify.output.part_files import PartTask, put_part
from curator_dask.stages.identify.output.publish import names_of_files, publish_single_files
from curator_dask.stages.identify.output.sending import Sending
from curator_dask.stages.workplace import Workplace

SHARE_OF_PART = 0.1
"""The share of a Dask task that putting a part in its place fills."""


def write_parts(
    place: Workplace, state: StageState, done: Mapping[str, str], sendings: Sequence[Sending], inputs: Sequence[str],
    send_first_anew: Callable[[], object], *, with_groups: bool = True,
) -> None:  # fmt: skip
    """Put the parts, which were sent, in their places; and write the tables and lists of all clips.

    Args:
        place: where pieces for these lie.
        done: what `part_inputs` told.
        sendings: of all parts.
        inputs: what `send_part` returned for each.
        send_first_anew: sends the first part whatever was done before.
        with_groups: whether there is a table of groups.
    """
    tasks = [one.task for one in sendings]
    units = [
        Unit(one.key, made, one.task, one.task.path, SHARE_OF_PART) for one, made in zip(sendings, inputs, strict=True)
    ]
    _write_parts(place.context, state, done, units, send_first_anew)
    names = names_of_files(tasks[0].of_all[1] if tasks[0].of_all is not None else 0, with_groups=with_groups)
    publish_single_files(place, state, [one.path for one in tasks], names, tasks[0].path.removesuffix(decision_part(0)))


def _write_parts(
    context: RunContext, state: StageState, done: Mapping[str, str], units: Sequence[Unit[PartTask]],
    send_first_anew: Callable[[], object],
) -> None:  # fmt: skip
    """Write all parts. The first one comes last: without it there are no parts for readers."""
    state.forget(done.keys() - {unit.key for unit in units})
    first, others = units[:1], units[1:]
    if first[0].key in done and any(done.get(unit.key) != unit.inputs for unit in others):
        state.forget([first[0].key])
        send_first_anew()
    for some in (others, first):
        outcome = run_units(
            context.cluster, state, some, put_part, reporter=context.reporter, what="parts", flush_together=True
        )
        outcome.raise_failures(f"{counted(len(outcome.failures), 'parts')} of the decisions could not be written")
    for unit in units:
        state.folder.remove(unit.task.made)

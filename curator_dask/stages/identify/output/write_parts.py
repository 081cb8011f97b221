"""Write the decisions to files, on workers: in parts, and up to a size also as tables and lists of all clips."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from curator_dask.files.layout import decision_part
from curator_dask.files.names import counted
from curator_dask.runtime.state import StageState
from curator_dask.runtime.units import Unit, run_units
from curator_dask.stages.base import RunContext
from curator_dask.stages.identify.output.part_files import PartTask, write_part
from curator_dask.stages.identify.output.publish import names_of_files, pieces_of_parts, publish_single_files
from curator_dask.stages.identify.output.sending import Sending
from curator_dask.stages.identify.settling.workplace import Workplace


def write_parts(
    place: Workplace, state: StageState, done: Mapping[str, str], sendings: Sequence[Sending], inputs: Sequence[str],
    send_first_anew: Callable[[], object], *, with_groups: bool = True,
) -> None:  # fmt: skip
    """Write the files of the decisions, where the rows of the parts were sent.

    Args:
        place: where what parts give to the single files lies meanwhile.
        done: what `part_inputs` told.
        sendings: of all parts.
        inputs: what `send_rows` returned for each.
        send_first_anew: sends the rows of the first part whatever was done before.
        with_groups: whether there is a table of groups.
    """
    paths = [one.task.path for one in sendings]
    of_all = sendings[0].task.of_all
    num_rows = of_all[1] if of_all is not None else 0
    names = names_of_files(num_rows, with_groups=with_groups)
    pieces = [None] * len(paths) if place.here else pieces_of_parts(place, len(paths), names)
    units = [
        Unit(one.key, made, replace(one.task, pieces=some), one.task.path)
        for one, made, some in zip(sendings, inputs, pieces, strict=True)
    ]
    _write_parts(place.context, state, done, units, send_first_anew)
    publish_single_files(place, state, paths, names, paths[0].removesuffix(decision_part(0)))


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
        outcome = run_units(context.cluster, state, some, write_part, reporter=context.reporter, what="parts")
        outcome.raise_failures(f"{counted(len(outcome.failures), 'parts')} of the decisions could not be written")
    for unit in units:
        state.folder.remove(unit.task.rows)

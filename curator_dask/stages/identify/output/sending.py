"""How a part gets to the unit that puts it in its place: as a finished file, unless it is there already."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from curator_dask.data.tables import arrow_bytes
from curator_dask.files.content_hash import NAMES_CONTENT, hash_of
from curator_dask.files.layout import decision_part
from curator_dask.runtime.records import digest
from curator_dask.runtime.state import StageState
from curator_dask.stages.identify.decisions.part_rows import PartRows
from curator_dask.stages.identify.decisions.parts import PART_UNIT
from curator_dask.stages.identify.decisions.table_rows import TableRows
from curator_dask.stages.identify.output.part_files import PartTask, make_part, packed
from curator_dask.stages.identify.output.publish import names_of_files, pieces_of_part
from curator_dask.stages.workplace import Workplace

PART_VERSION = 1
"""Version of the parts. One that an older version wrote is written anew."""


@dataclass(frozen=True)
class Sending:
    """How one part gets to the unit that puts it in its place."""

    state: StageState
    key: str
    task: PartTask
    done: str
    """What the part that is there was made from; "" where there is none."""

    @classmethod
    def of(
        cls, place: Workplace, state: StageState, number: int, num_parts: int, rows: TableRows, eps: float, below: str,
        done: Mapping[str, str], *, with_groups: bool = True,
    ) -> Sending:  # fmt: skip
        """For part `number`. `rows` are all rows, `done` what `part_inputs` told; for the others see `write_parts`."""
        key = f"{PART_UNIT}{number:06d}"
        names = names_of_files(len(rows), with_groups=with_groups)
        task = PartTask(
            state.folder, below + decision_part(number), state.beside_marker(key), rows.tables.of_clusters(()),
            rows.id_type, eps, None if number else (num_parts, len(rows)), pieces_of_part(place, number, names),
        )  # fmt: skip
        return cls(state, key, task, done.get(key, ""))


@dataclass(frozen=True)
class Prepared:
    """One part that was sent."""

    inputs: str
    """Digest of what its file is made from."""
    counts: dict[str, int]


def send_part(sending: Sending, part: PartRows) -> str:
    """Make the file of a part, unless it is there already; returns the digest of what it is made from."""
    import pyarrow as pa

    task = sending.task
    columns = {name: one if isinstance(one, pa.Array) else pa.array(one) for name, one in part.columns.items()}
    content = hash_of(arrow_bytes(packed(columns)), like=NAMES_CONTENT)
    ids = [one.hex() for one in part.digests]
    inputs = digest(PART_VERSION, content, ids, str(task.id_type), task.eps, task.of_all)
    if sending.done != inputs:
        make_part(task, columns)
    return inputs

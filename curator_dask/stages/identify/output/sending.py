"""How the rows of a part get to the worker that writes it."""

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
from curator_dask.stages.identify.output.part_files import PartTask, pack

PART_VERSION = 1
"""Version of the parts. One that an older version wrote is written anew."""


@dataclass(frozen=True)
class Sending:
    """How the rows of one part get to the worker that writes it."""

    state: StageState
    key: str
    task: PartTask
    done: str
    """What the part that is there was made from; "" where there is none."""

    @classmethod
    def of(
        cls, state: StageState, number: int, num_parts: int, rows: TableRows, eps: float, below: str,
        done: Mapping[str, str],
    ) -> Sending:  # fmt: skip
        """For part `number`. `rows` are all rows, `done` what `part_inputs` told."""
        key = f"{PART_UNIT}{number:06d}"
        task = PartTask(
            state.folder, below + decision_part(number), state.beside_marker(key), rows.tables.of_clusters(()),
            rows.id_type, eps, None if number else (num_parts, len(rows)),
        )  # fmt: skip
        return cls(state, key, task, done.get(key, ""))


@dataclass(frozen=True)
class Prepared:
    """One part whose rows were sent."""

    inputs: str
    """Digest of what its file is made from."""
    counts: dict[str, int]


def send_rows(sending: Sending, part: PartRows) -> str:
    """Write the rows of a part to where the worker finds them, unless they are done; returns their digest."""
    task = sending.task
    data = arrow_bytes(pack(part.columns))
    ids = [one.hex() for one in part.digests]
    inputs = digest(PART_VERSION, hash_of(data, like=NAMES_CONTENT), ids, str(task.id_type), task.eps, task.of_all)
    if sending.done != inputs:
        with sending.state.folder.writing(task.rows, for_this_run=True) as temporary:
            temporary.write_bytes(data)
    return inputs

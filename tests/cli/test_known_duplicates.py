"""The CSV file of ``calibrate --known-duplicates``: names with commas and ends of lines in them, from any program."""

from __future__ import annotations

from curator_dask.cli.commands.tools.calibrate import _read_groups


def test_names_are_read_as_they_were_quoted(tmp_path):
    path = tmp_path / "groups.csv"
    path.write_bytes('\ufeffa.mp4,"b\u2028c.mp4"\r\n\r\n"x,y.mp4","z\nw.mp4"\n'.encode())
    assert _read_groups(path) == (("a.mp4", "b\u2028c.mp4"), ("x,y.mp4", "z\nw.mp4"))
    assert _read_groups(None) == ()

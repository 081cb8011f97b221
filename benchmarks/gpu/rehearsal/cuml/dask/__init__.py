"""Stands for `cuml.dask` in a rehearsal."""

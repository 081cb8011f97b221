"""``python -m curator_dask`` is the same as ``curator-dask``."""

from curator_dask.cli import main

if __name__ == "__main__":
    main()

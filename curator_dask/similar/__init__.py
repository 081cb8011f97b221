"""Find the clips that are most like one clip, or like a file of a user. Dask is not used."""

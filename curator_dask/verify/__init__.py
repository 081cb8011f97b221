"""Check an output against its own records, mark what is broken, and find what nobody needs any more. Dask is not used."""

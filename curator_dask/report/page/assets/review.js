// The page of a report only shows. `curator-dask review` puts its own buttons here.

const review = { actions: () => null, connect: () => {} };

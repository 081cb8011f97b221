"""How other processes reach the workers that a test runs."""

from __future__ import annotations

from pathlib import Path

from curator_dask.runtime.cluster import LazyCluster


def variables_for(cluster: LazyCluster, folder: Path) -> dict[str, str]:
    """Environment variables: the address of the scheduler, and the files of the keys that it asks for, written to `folder`."""
    keys = cluster.client.security.get_tls_config_for_role("client")
    variables = {"CURATOR_DASK_SCHEDULER_ADDRESS": cluster.client.scheduler.address}
    for name, variable in (("ca_file", "CA_FILE"), ("cert", "CLIENT__CERT"), ("key", "CLIENT__KEY")):
        (folder / name).write_text(keys[name])
        variables[f"DASK_DISTRIBUTED__COMM__TLS__{variable}"] = str(folder / name)
    return variables

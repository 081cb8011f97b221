"""Keys that live as long as a local cluster: without them nobody on the machine reaches it."""

from __future__ import annotations

import datetime
from typing import Any


def temporary_keys() -> Any:
    """A `distributed.Security` with a key and a certificate for all parts of one cluster. They are in memory only.

    `Security.temporary` of Dask makes an RSA key, which takes up to a quarter of a second; one on an elliptic curve takes
    none, and is no weaker.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from distributed import Security

    key = ec.generate_private_key(ec.SECP256R1())
    pkcs8, unencrypted = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    own = key.private_bytes(serialization.Encoding.PEM, pkcs8, unencrypted).decode()
    shown = _certificate(key).public_bytes(serialization.Encoding.PEM).decode()
    roles = ("client", "scheduler", "worker")
    return Security(
        require_encryption=True,
        tls_ca_file=shown,
        **{f"tls_{role}_key": own for role in roles},
        **{f"tls_{role}_cert": shown for role in roles},
    )


def _certificate(key: Any) -> Any:
    """A certificate of the key, signed with it, for a year."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "dask-internal")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    valid = builder.not_valid_before(now).not_valid_after(now + datetime.timedelta(days=365))
    return valid.sign(key, hashes.SHA256())

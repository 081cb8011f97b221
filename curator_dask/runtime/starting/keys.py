"""Keys for a local cluster, in memory only: client, scheduler and workers have the same, and talk to nobody else.

They are what `distributed.Security.temporary` makes, but on an elliptic curve: its RSA keys take .02 to .1 s at every start.
"""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

NAME = "dask-internal"
VALID = datetime.timedelta(days=365)


def temporary_keys() -> Any:
    """A new key and its certificate, as a `distributed.Security` for all roles."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from distributed import Security

    key = ec.generate_private_key(ec.SECP256R1())
    key_text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode("ascii")
    certificate = _certificate(key)
    roles = {f"tls_{role}_{what}": text for role in ("client", "scheduler", "worker")
             for what, text in (("key", key_text), ("cert", certificate))}  # fmt: skip
    return Security(require_encryption=True, tls_ca_file=certificate, **roles)


def _certificate(key: EllipticCurvePrivateKey) -> str:
    """The certificate of a key, signed by itself."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.x509.oid import NameOID

    name, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)]), datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + VALID)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode("ascii")

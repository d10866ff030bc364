"""A certificate for localhost, which passes as Apple's host too, and a provider key, made anew for each run."""

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from tests import certificates

APPLE = "api.push.apple.com"


def localhost(folder: Path) -> tuple[Path, Path]:
    """(certificate, key) files; the certificate signs itself, so it is its own CA file."""
    files = folder / "localhost.pem", folder / "localhost.key"
    for file, content in zip(files, certificates.localhost(APPLE), strict=True):
        file.write_bytes(content)
    return files


def provider_key() -> str:
    """PEM text of a .p8 key."""
    return certificates.pem(ec.generate_private_key(ec.SECP256R1())).decode()

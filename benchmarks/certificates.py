"""A certificate for localhost and a provider key, made anew for each run."""

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from tests import certificates


def localhost(folder: Path) -> tuple[Path, Path]:
    """(certificate, key) files; the certificate signs itself, so it is its own CA file."""
    files = folder / "localhost.pem", folder / "localhost.key"
    for file, content in zip(files, certificates.localhost(), strict=True):
        file.write_bytes(content)
    return files


def provider_key() -> str:
    """PEM text of a .p8 key."""
    return certificates.pem(ec.generate_private_key(ec.SECP256R1())).decode()

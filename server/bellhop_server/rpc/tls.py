"""TLS of the server: files that can be used, or a word on which one cannot."""

from dataclasses import dataclass
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key


class TlsRefused(Exception):
    """A file cannot be used; the text names its setting and says why."""


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM files of the server, and of the authorities that clients' certificates must come from, if they must."""

    certificate: Path
    key: Path
    client_ca: Path | None = None

    def credentials(self) -> grpc.ServerCredentials:
        """Reads the files. Raises TlsRefused: gRPC would say no more than that it cannot listen, or take them."""
        chain = _read("BELLHOP_TLS_CERT", self.certificate)
        key = _read("BELLHOP_TLS_KEY", self.key)
        certificate = _certificates("BELLHOP_TLS_CERT", self.certificate, chain)[0]
        try:
            private = load_pem_private_key(key, password=None)
        except (ValueError, TypeError):  # TypeError: it wants a password.
            raise TlsRefused(f"BELLHOP_TLS_KEY: {self.key} is no private key in PEM, not encrypted.") from None
        if private.public_key() != certificate.public_key():
            raise TlsRefused(
                f"BELLHOP_TLS_KEY: {self.key} is not the key of the first certificate in {self.certificate}."
            )
        authorities = None
        if self.client_ca is not None:
            authorities = _read("BELLHOP_TLS_CLIENT_CA", self.client_ca)
            _certificates("BELLHOP_TLS_CLIENT_CA", self.client_ca, authorities)
        return grpc.ssl_server_credentials([(key, chain)], authorities, require_client_auth=authorities is not None)


def _read(setting: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TlsRefused(f"{setting}: cannot read {path}: {error.strerror}.") from error


def _certificates(setting: str, path: Path, pem: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:  # Also when there is none.
        raise TlsRefused(f"{setting}: {path} holds no certificates in PEM, or broken ones.") from None

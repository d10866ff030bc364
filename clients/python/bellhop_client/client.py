"""The client of back ends and devices."""

from bellhop_client.notifier import NotifierCalls
from bellhop_client.registry import RegistryCalls
from bellhop_client.retry import RetryPolicy
from bellhop_client.tags import TagCalls


class Client(RegistryCalls, TagCalls, NotifierCalls):
    """Speaks for one application: registers devices with a client secret, sends and looks with an app secret.

    `target` is `https://host:port`, `http://host:port`, or `host:port`, which is plaintext on loopback and TLS
    anywhere else unless `tls` says otherwise. Certificates and key are PEM; giving one of them means TLS. Every
    credential that is given goes with every call, and must be valid.

    Raises ValueError for a target or credential that cannot be one.
    """

    def __init__(
        self,
        target: str,
        *,
        app_id: str,
        app_secret: str | None = None,
        client_secret: str | None = None,
        device_secret: str | None = None,
        bind_grant: str | None = None,
        tls: bool | None = None,
        root_certificates: bytes | None = None,
        client_certificate: bytes | None = None,
        client_key: bytes | None = None,
        retry_policy: RetryPolicy | None = None,
    ) -> None:
        credentials = {
            "app-id": app_id,
            "app-secret": app_secret,
            "client-secret": client_secret,
            "device-secret": device_secret,
            "bind-grant": bind_grant,
        }
        super().__init__(
            target,
            credentials,
            tls=tls,
            root_certificates=root_certificates,
            client_certificate=client_certificate,
            client_key=client_key,
        )
        self._retry_policy = retry_policy or RetryPolicy()

"""The way to FCM for one Firebase project."""

from bellhop_server.ports import Clock
from bellhop_server.providers.fcm.bucket import Bucket
from bellhop_server.providers.fcm.settings import FcmSettings
from bellhop_server.providers.line import Line
from bellhop_server.providers.pool import Pool


class FcmLine(Line):
    """The connections are those of all projects; what a project may send, and whether it fails, is its own affair."""

    def __init__(self, project_id: str, pool: Pool, settings: FcmSettings, clock: Clock) -> None:
        super().__init__(pool, clock)
        self.bucket = Bucket(settings.rate, clock)
        self.head = head(settings, project_id)


def head(settings: FcmSettings, project_id: str) -> tuple[tuple[bytes, bytes], ...]:
    """The header fields of each message of a project but the one that shows who sends it."""
    return (
        (b":method", b"POST"),
        (b":scheme", b"https"),
        (b":authority", settings.origin.authority.encode()),
        (b":path", path(project_id).encode()),
        (b"content-type", b"application/json"),
        # The form of errors that has details.
        (b"x-goog-api-format-version", b"2"),
    )


def path(project_id: str) -> str:
    """Where messages of a project go."""
    return f"/v1/projects/{project_id}/messages:send"

"""What is remembered of a secret, and for how long."""

from bellhop_server.domain.application import KnownSecret, SecretKind, digest_of
from bellhop_server.store.recent_secrets import SECONDS, RecentSecrets


def secret(text: str, kind: SecretKind = SecretKind.CLIENT, app_id: str = "shop") -> KnownSecret:
    return KnownSecret(app_id, kind, digest_of(text), secret_id=text)


class Seconds:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_it_is_remembered_from_when_it_was_asked_for_and_not_longer() -> None:
    seconds = Seconds()
    recent = RecentSecrets(seconds)
    asked = seconds.now
    seconds.now += SECONDS / 2
    recent.remember([secret("s1")], asked)
    assert recent.get([digest_of("s1")]) == [secret("s1")]
    seconds.now = asked + SECONDS
    assert recent.get([digest_of("s1")]) is None


def test_an_answer_that_took_its_time_is_not_kept_with_younger_ones() -> None:
    seconds = Seconds()
    recent = RecentSecrets(seconds)
    slow = seconds.now
    seconds.now += SECONDS / 2
    recent.remember([secret("quick")], seconds.now)
    recent.remember([secret("slow")], slow)
    assert recent.get([digest_of("quick")]) is not None
    assert recent.get([digest_of("slow")]) is None


def test_an_answer_that_came_too_late_is_good_for_nothing() -> None:
    seconds = Seconds()
    recent = RecentSecrets(seconds)
    asked = seconds.now
    seconds.now += SECONDS
    recent.remember([secret("s1")], asked)
    assert recent.get([digest_of("s1")]) is None


def test_what_is_remembered_is_forgotten_together() -> None:
    seconds = Seconds()
    recent = RecentSecrets(seconds)
    recent.remember([secret("s1")], seconds.now)
    seconds.now += SECONDS * 3 / 4
    recent.remember([secret("s2")], seconds.now)
    assert recent.get([digest_of("s1"), digest_of("s2")]) == [secret("s1"), secret("s2")]
    seconds.now += SECONDS / 2
    recent.remember([secret("s3")], seconds.now)
    assert recent.get([digest_of("s2")]) is None
    assert recent.get([digest_of("s3")]) is not None


def test_one_that_is_not_known_means_looking_all_of_them_up() -> None:
    recent = RecentSecrets(Seconds())
    recent.remember([secret("s1")], 1000.0)
    assert recent.get([digest_of("s1"), digest_of("s2")]) is None
    assert recent.get([digest_of("s1"), digest_of("s1")]) == [secret("s1")]


def test_one_text_may_be_the_secret_of_several() -> None:
    recent = RecentSecrets(Seconds())
    both = [secret("s1"), secret("s1", app_id="other")]
    recent.remember(both, 1000.0)
    recent.remember(both, 1000.0)
    assert recent.get([digest_of("s1")]) == both
    recent.remember([secret("s2"), secret("s2", SecretKind.DEVICE)], 1000.0)
    assert recent.get([digest_of("s2")]) is None


def test_secrets_of_devices_are_not_remembered() -> None:
    recent = RecentSecrets(Seconds())
    recent.remember([secret("d1", SecretKind.DEVICE), secret("s1")], 1000.0)
    assert recent.get([digest_of("d1")]) is None
    assert recent.get([digest_of("s1")]) is not None

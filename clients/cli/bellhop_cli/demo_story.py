"""What the demo plays, step by step; each step is checked against what the simulated providers took."""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from google.protobuf.json_format import ParseDict
from rich.console import Console
from rich.padding import Padding

from bellhop.v1.applications_pb2 import CreateApplicationResponse, SetCredentialRequest
from bellhop.v1.device_pb2 import Platform
from bellhop.v1.message_pb2 import OUTCOME_ACCEPTED, Audience, Outcome
from bellhop_cli.demo_processes import DemoFailed, Stage
from bellhop_cli.output import label, table
from bellhop_client import (
    AdminClient,
    ApnsTarget,
    Client,
    CredentialsError,
    FcmTarget,
    Notification,
    SendStream,
    WebPushTarget,
    to_everyone,
    to_users,
)

APP_ID = "demo"

PHONE, OLD_PHONE, TABLET = "annas-phone", "annas-old-phone", "annas-tablet"
BENS_PHONE, LOST_PHONE = "bens-phone", "nobodys-phone"
ANDROID, BROWSER = "annas-android", "bens-browser"


@dataclass(frozen=True, slots=True)
class Played:
    """What is there when the story is over: the application's secrets, the last message and its first cursor."""

    client_secret: str
    app_secret: str
    message_id: str
    cursor: str


class Story:
    """Plays against one stage. Each step raises DemoFailed when it did not happen as told."""

    def __init__(self, stage: Stage, out: Console) -> None:
        self._stage = stage
        self._out = out
        self._step = 0
        self._tokens = {name: secrets.token_hex(32) for name in (PHONE, OLD_PHONE, TABLET, BENS_PHONE, LOST_PHONE)}
        self._tokens[ANDROID] = f"{secrets.token_urlsafe(16)}:{secrets.token_urlsafe(64)}"
        self._names = {token: name for name, token in self._tokens.items()}

    async def play(self) -> Played:
        """All of it."""
        self._tell("An application, and the keys by which Apple, Google and the browsers' push services know it")
        made, vapid_public_key = await self._create_application()
        address, guessed = self._stage.address, f"bhc_{secrets.token_urlsafe(32)}"
        async with (
            Client(address, app_id=APP_ID, client_secret=made.client_secret) as phones,
            Client(address, app_id=APP_ID) as stranger,
            Client(address, app_id=APP_ID, app_secret=made.app_secret) as back_end,
            Client(address, app_id=APP_ID, client_secret=guessed) as thief,
        ):
            self._tell(
                "Phones and a tablet of anna, a phone and a browser of ben, and a phone where nobody has logged in"
            )
            for name in (PHONE, OLD_PHONE, TABLET, ANDROID):
                await self._log_in(phones, name, "anna")
            await self._log_in(phones, BENS_PHONE, "ben")
            await self._subscribe(phones, BROWSER, "ben", vapid_public_key)
            await stranger.register_anonymous_device(device_id=LOST_PHONE, apns=self._target(LOST_PHONE))
            await self._show_devices(back_end)

            self._tell("A message for anna rings her four devices, whoever made them; results stream in")
            await self._send(back_end, to_users("anna"), "Dinner is ready", {PHONE, OLD_PHONE, TABLET, ANDROID})

            self._tell(f"anna logs out on {OLD_PHONE}: the next message does not ring it")
            answer = await phones.unregister_device(device_id=OLD_PHONE)
            self._check(answer.existed, f"{OLD_PHONE} was taken out")
            await self._send(back_end, to_users("anna"), "Dessert is served", {PHONE, TABLET, ANDROID})

            self._tell(f"ben logs in on {PHONE}: from now on it is his")
            await self._log_in(phones, PHONE, "ben")
            await self._send(back_end, to_users("anna"), "For anna alone", {TABLET, ANDROID})
            await self._send(back_end, to_users("ben"), "For ben alone", {BENS_PHONE, PHONE, BROWSER})

            self._tell("Somebody without the client secret tries to take ben's phone, and is refused")
            await self._refuse(thief)
            await self._send(back_end, to_users("ben"), "Still for ben", {BENS_PHONE, PHONE, BROWSER})

            self._tell("A message for everyone rings each device once, the one without a user too")
            everywhere = {PHONE, TABLET, ANDROID, BENS_PHONE, BROWSER, LOST_PHONE}
            last = await self._send(back_end, to_everyone(), "The kitchen closes at ten", everywhere)

            self._tell("Its results are kept: watching it again from its first cursor tells the same")
            cursor = await self._watch_again(back_end, last)
        return Played(made.client_secret, made.app_secret, last.message_id, cursor)

    async def _create_application(self) -> tuple[CreateApplicationResponse, str]:
        """The application, and the public key that its browsers subscribe with."""
        simulated = self._stage.simulation["credentials"]
        apns, fcm, web_push = (
            ParseDict(simulated[name], SetCredentialRequest()) for name in ("apns", "fcm", "web_push")
        )
        async with AdminClient(self._stage.address, admin_token=self._stage.admin_token) as admin:
            made = await admin.create_application(app_id=APP_ID, display_name="Demo")
            answer = await admin.set_credential(app_id=APP_ID, apns=apns.apns)
            self._check(answer.credential.probe.ok, "APNs took the key when Bellhop tried it")
            answer = await admin.set_credential(app_id=APP_ID, fcm=fcm.fcm)
            self._check(answer.credential.probe.ok, "FCM took the service account when Bellhop tried it")
            answer = await admin.set_credential(app_id=APP_ID, web_push=web_push.web_push)
            self._check(bool(answer.credential.web_push.vapid_public_key), "browsers can subscribe under a VAPID key")
        return made, answer.credential.web_push.vapid_public_key

    def _target(self, name: str) -> ApnsTarget:
        return ApnsTarget(token=self._tokens[name])

    async def _log_in(self, phones: Client, name: str, user_id: str) -> None:
        if name == ANDROID:
            fcm = FcmTarget(token=self._tokens[name])
            answer = await phones.register_device(device_id=name, user_id=user_id, fcm=fcm)
        else:
            answer = await phones.register_device(device_id=name, user_id=user_id, apns=self._target(name))
        self._check(answer.device.user_id == user_id, f"{name} belongs to {user_id}", quiet_unless_wrong=True)

    async def _subscribe(self, phones: Client, name: str, user_id: str, vapid_public_key: str) -> None:
        subscription = await self._stage.subscribe(vapid_public_key)
        self._tokens[name] = subscription["id"]
        self._names[subscription["id"]] = name
        web_push = WebPushTarget(
            endpoint=subscription["endpoint"],
            p256dh=subscription["keys"]["p256dh"],
            auth=subscription["keys"]["auth"],
            vapid_public_key=vapid_public_key,
        )
        answer = await phones.register_device(device_id=name, user_id=user_id, web_push=web_push)
        self._check(answer.device.user_id == user_id, f"{name} belongs to {user_id}", quiet_unless_wrong=True)

    async def _show_devices(self, back_end: Client) -> None:
        devices = [device async for device in back_end.devices()]
        rows = [
            (device.device_id, device.user_id or "-", label(Platform.Name, device.platform, "PLATFORM_"))
            for device in devices
        ]
        self._out.print(Padding(table(("DEVICE", "USER", "NETWORK"), rows), (0, 0, 0, 3), expand=False))
        self._check({device.device_id for device in devices} == self._tokens.keys(), "all seven are registered")

    async def _send(self, back_end: Client, audience: Audience, title: str, expected: set[str]) -> SendStream:
        stream = back_end.send(audience=audience, notification=Notification(title=title))
        self._out.print(f"   send       {title!r}")
        told = []
        async for event in stream:
            if event.HasField("accepted"):
                self._out.print(f"   accepted   message {event.accepted.message_id}")
            for result in event.results.results:
                outcome = label(Outcome.Name, result.outcome, "OUTCOME_")
                network = label(Platform.Name, result.platform, "PLATFORM_")
                name = result.provider_message_id.rpartition("/")[2]
                self._out.print(f"   result     {result.device_id}: {outcome} by {network}, {name}")
                told.append((result.device_id, result.outcome))
        assert stream.summary
        counts = stream.summary.counts
        self._out.print(f"   summary    {counts.finished_count} of {counts.device_count} finished")
        self._check(
            sorted(told) == [(name, OUTCOME_ACCEPTED) for name in sorted(expected)],
            f"one result each for {_list(expected)}",
            quiet_unless_wrong=True,
        )
        taken = [self._names[token] for token in self._stage.taken(title)]
        self._check(sorted(taken) == sorted(expected), f"the providers took it for {_list(expected)}, and nobody else")
        return stream

    async def _refuse(self, thief: Client) -> None:
        try:
            await thief.register_device(device_id=BENS_PHONE, user_id="mallory", apns=self._target(BENS_PHONE))
        except CredentialsError as error:
            self._out.print(f"   bellhop: {error}")
            self._check(error.reason == "CREDENTIALS_INVALID", "refused")
        else:
            raise DemoFailed("a wrong client secret was accepted")

    async def _watch_again(self, back_end: Client, stream: SendStream) -> str:
        watched = back_end.watch(stream.message_id)
        await anext(watched)
        from_first_cursor = back_end.watch(stream.message_id, after_cursor=watched.cursor)
        await watched.aclose()
        results = await from_first_cursor.results()
        assert stream.summary
        self._check(
            from_first_cursor.summary == stream.summary and len(results) == stream.summary.counts.device_count,
            f"the same {len(results)} results and the same summary",
        )
        return watched.cursor

    def _tell(self, what: str) -> None:
        self._step += 1
        self._out.print(f"\n{self._step}. {what}", style="bold")

    def _check(self, true: bool, what: str, *, quiet_unless_wrong: bool = False) -> None:
        if not true:
            raise DemoFailed(f"step {self._step}: not so: {what}")
        if not quiet_unless_wrong:
            self._out.print(f"   ok         {what}", style="green")


def _list(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))

"""What the use cases need of the world. Each docstring is the contract that an implementation must keep.

Every method of a store may raise `ServiceUnavailable` (nothing was written) and, where it writes, `Overloaded`
(nothing was taken); what else it raises is named. A write has been committed durably when its call returns.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from enum import Enum
from typing import Protocol

from bellhop_server.domain import Micros
from bellhop_server.domain.acceptance import Accepted
from bellhop_server.domain.application import (
    Application,
    Breaker,
    Credential,
    CredentialOffer,
    KnownSecret,
    Policy,
    ProbeResult,
    ProviderSecret,
    Secret,
)
from bellhop_server.domain.batch import BatchReport, ClaimedBatch, NewBatch, Recorded
from bellhop_server.domain.delivery import Answer, Chunk, ProviderRequest, Reading
from bellhop_server.domain.device import DeadTarget, Device, Platform, Target
from bellhop_server.domain.errors import Violation
from bellhop_server.domain.grant import Grant
from bellhop_server.domain.interaction import Interaction, InteractionCount, Report
from bellhop_server.domain.lanes import Share, Survey
from bellhop_server.domain.message import (
    Audience,
    Message,
    MessageCounts,
    MessageEnding,
    MessageState,
    Result,
    Send,
)
from bellhop_server.domain.planning import AudiencePage, Planning
from bellhop_server.domain.query import DeviceQuery, ResultQuery
from bellhop_server.domain.registration import RegistryAnswer, RegistryCommand
from bellhop_server.domain.tag import Subscriber, SubscriptionChange, SubscriptionQuery, Tag
from bellhop_server.domain.tag import Subscription as TagSubscription


class Clock(Protocol):
    """Time, so that tests can hold it."""

    def now(self) -> Micros:
        """Wall clock, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back; for deadlines within this process."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Returns once that much monotonic time has passed."""
        ...


class ApplicationStore(Protocol):
    """Tenants, secrets and provider credentials. Credentials are sealed at rest."""

    async def create_application(self, application: Application, secrets: Sequence[Secret]) -> None:
        """Raises ApplicationAlreadyExists."""
        ...

    async def get_application(self, app_id: str) -> Application:
        """Raises ApplicationNotFound."""
        ...

    async def list_applications(self, after: str, limit: int) -> list[Application]:
        """Those with an id greater than `after`, by id."""
        ...

    async def update_application(
        self, app_id: str, now: Micros, display_name: str | None, policy: Policy | None
    ) -> Application:
        """Changes what is not None. Raises ApplicationNotFound."""
        ...

    async def delete_application(self, app_id: str) -> bool:
        """Deletes it with all it has: secrets, credentials, devices, messages, results. False: there was none."""
        ...

    async def add_secret(self, secret: Secret, others_end: Micros, live_limit: int) -> None:
        """Adds one; each live one of the same kind ends at the earlier of its own end and `others_end`.

        Raises ApplicationNotFound, QuotaExceeded("secrets") when more than `live_limit` of the kind would be live.
        """
        ...

    async def list_secrets(self, app_id: str, ended_after: Micros, after: str, limit: int) -> list[Secret]:
        """Client and app secrets by id: live ones and those that ended after that time. Raises ApplicationNotFound."""
        ...

    async def end_secret(self, app_id: str, secret_id: str, now: Micros) -> Secret:
        """Ends it now unless it has ended. Raises ApplicationNotFound, SecretNotFound."""
        ...

    async def find_secrets(self, digests: Sequence[bytes]) -> list[KnownSecret]:
        """All that these digests are, of whatever kind and application, ended ones too. One indexed look-up."""
        ...

    async def settle_device_secret(self, app_id: str, device_id: str, digest: bytes, now: Micros) -> None:
        """A pending device secret was used: it is pending no more, and the device's others are retired."""
        ...

    async def touch_secrets(self, last_use: Mapping[str, Micros]) -> None:
        """Notes when secrets (by secret id) were last used; best effort."""
        ...

    async def put_credential(self, credential: Credential, replaces: int | None) -> Credential:
        """Stores it in place of the version that has its name now, None for none; returns it with its new version.

        Raises ApplicationNotFound, ConcurrentChange when another version has the name.
        """
        ...

    async def list_credentials(self, app_id: str) -> list[Credential]:
        """All of an application, by credential id. Empty for an unknown application."""
        ...

    async def delete_credential(self, app_id: str, credential_id: str) -> bool:
        """False: there was none. Raises ApplicationNotFound."""
        ...


class DeviceStore(Protocol):
    """Who is where. One command is one transaction; commands that arrive together may share one commit."""

    async def execute(
        self, command: RegistryCommand, committed: Callable[[RegistryAnswer], None] | None = None
    ) -> RegistryAnswer:
        """Carries out one command by the rules of `domain.registry`; the same whatever else runs at the time.

        A command whose caller is cancelled may be committed all the same: `committed` hears the answer in either case,
        from the event loop. Raises what the rules raise.
        """
        ...

    async def get_device(self, app_id: str, device_id: str) -> Device:
        """As it is stored: `Device.as_of` says whether its binding has ended. Raises DeviceNotFound."""
        ...

    async def list_devices(self, query: DeviceQuery, after: str, limit: int) -> list[Device]:
        """By device id (code point order), those greater than `after`. To the filters a binding that has ended is none;
        what comes back is as it is stored."""
        ...

    async def count_devices(self, query: DeviceQuery) -> int:
        """How many; a scan."""
        ...

    async def ended_bindings(self, now: Micros, limit: int) -> list[tuple[str, str]]:
        """(app id, device id) of devices that are stored as bound though their binding has ended, the longest first."""
        ...

    async def retire_targets(self, app_id: str, dead: Sequence[DeadTarget]) -> int:
        """Marks devices DEAD that still have that very target presented at that very time; returns how many."""
        ...

    async def mark_accepted(self, app_id: str, taken: Sequence[tuple[str, bytes]]) -> None:
        """Notes that a provider has accepted these (device id, target digest) before; their refusals count anew."""
        ...

    async def note_refusals(self, app_id: str, doubted: Sequence[DeadTarget], now: Micros) -> None:
        """Counts one more refusal for devices that still have that very target; those with their third in a row, the
        first of them a day ago or longer, become DEAD."""
        ...


class TagStore(Protocol):
    """Tags that were made, and who is subscribed to them. The built-in tag is none of them."""

    async def create_tag(self, tag: Tag) -> None:
        """Raises ApplicationNotFound, TagAlreadyExists, QuotaExceeded("tags")."""
        ...

    async def get_tag(self, app_id: str, tag_name: str) -> Tag:
        """Raises TagNotFound."""
        ...

    async def list_tags(self, app_id: str, after: str, limit: int) -> list[Tag]:
        """By name (code point order), those greater than `after`."""
        ...

    async def update_tag(self, app_id: str, tag_name: str, description: str, now: Micros) -> Tag:
        """Raises TagNotFound."""
        ...

    async def delete_tag(self, app_id: str, tag_name: str, now: Micros) -> bool:
        """Deletes it with its subscriptions. False: there was none."""
        ...

    async def known_tags(self, app_id: str, tag_names: Collection[str]) -> set[str]:
        """Those of these names that are there."""
        ...

    async def count_subscriptions(self, app_id: str, tag_names: Collection[str]) -> dict[str, int]:
        """How many each has; 0 for one that is not there. A scan."""
        ...

    async def subscribe(
        self, subscriber: Subscriber, tag_names: Sequence[str], now: Micros
    ) -> list[SubscriptionChange]:
        """A change for each tag, in their order, all in one transaction.

        Raises DeviceNotFound, QuotaExceeded("subscriptions").
        """
        ...

    async def unsubscribe(
        self, subscriber: Subscriber, tag_names: Sequence[str], now: Micros
    ) -> list[SubscriptionChange]:
        """A change for each tag, in their order, all in one transaction. Raises DeviceNotFound."""
        ...

    async def list_subscriptions(self, query: SubscriptionQuery, after: str, limit: int) -> list[TagSubscription]:
        """By id, those greater than `after`."""
        ...


class MessageStore(Protocol):
    """Messages, their batches and their results."""

    async def find_send(self, app_id: str, keys: Sequence[str]) -> tuple[str, str] | None:
        """(fingerprint, message id) of the first of these keys (see `Send.keys`) that is remembered.

        It may outlive its message.
        """
        ...

    async def accept(self, send: Send, fingerprint: str, message_id: str, now: Micros) -> Accepted:
        """Writes message and request id in one transaction, as an unplanned message in state SENDING, or SCHEDULED when
        its time is later than `now`.

        A send one of whose `keys` is known is replayed if its fingerprint is the same, with another one RequestIdReused
        is raised. `message_id` is the id to give it.
        """
        ...

    async def accept_many(
        self, sends: Sequence[tuple[Send, str, str]], now: Micros, committed: Callable[[Accepted], None]
    ) -> list[Accepted | Exception]:
        """As `accept` for each (send, fingerprint, message id), with few commits: what it would return or raise.

        `committed` hears of each new message before anything that comes of it can be announced.
        """
        ...

    async def get_message(self, app_id: str, message_id: str) -> Message:
        """Raises MessageNotFound."""
        ...

    async def get_message_by_ref(self, ref: int) -> Message:
        """Raises MessageNotFound."""
        ...

    async def counts(self, refs: Sequence[int]) -> dict[int, MessageCounts]:
        """Numbers so far of each message, consistent in themselves."""
        ...

    async def endings(self, refs: Sequence[int]) -> dict[int, MessageEnding]:
        """Of those of the messages that have ended."""
        ...

    async def list_messages(
        self,
        app_id: str,
        states: Sequence[MessageState],
        accepted_from: Micros | None,
        accepted_until: Micros | None,
        before: tuple[Micros, int] | None,
        limit: int,
    ) -> list[Message]:
        """The latest first; `before` is (accept_time, ref) of the last one of the page before."""
        ...

    async def list_results(self, query: ResultQuery, after_seq: int, limit: int) -> list[tuple[int, Result]]:
        """(seq, result) in the order in which they were written, those beyond `after_seq`."""
        ...

    async def last_seq(self, ref: int) -> int:
        """The highest cursor number that the message has handed out; 0: none."""
        ...

    async def until_fire(self, now: Micros) -> Micros | None:
        """How long until the next message in state SCHEDULED has its time, 0 or less: it has; None: there is none.

        By the database's clock, as it is also for `fire`; `now` is the time of a database that has none of its own.
        """
        ...

    async def fire(self, now: Micros, limit: int) -> int:
        """Puts messages whose time has come from SCHEDULED to SENDING, the earliest first; returns how many.

        0, though there are some: another process is doing it.
        """
        ...

    async def cancel(self, app_id: str, message_id: str, now: Micros) -> Recorded:
        """Ends a message that is not over: nothing more is planned, and what waits for an attempt waits no longer.

        In state CANCELLED at once (and `completed`) when nothing is left to be reported, else with the last result.
        What is over or cancelled is left as it is. Raises MessageNotFound.
        """
        ...

    async def unplanned(self, limit: int) -> list[Planning]:
        """Messages in state SENDING whose planning is not finished, higher priority and older first.

        What cannot be read is left out, and logged.
        """
        ...

    async def read_audience(self, app_id: str, audience: Audience, after: str, limit: int, now: Micros) -> AudiencePage:
        """About `limit` more devices of an audience, ACTIVE ones, by keyset; holds nothing open between calls.

        Bindings that have ended by `now` are none: such a device is nobody's, and of no user's audience.
        """
        ...

    async def add_plan(
        self, ref: int, expected_after: str, page: AudiencePage, batches: Sequence[NewBatch], now: Micros
    ) -> Recorded:
        """Batches, missing results, counts and the planner's cursor in one transaction.

        Raises ConcurrentChange when the cursor is no longer `expected_after`. A page whose `after` is None ends the
        planning, and completes a message that has nothing left to do.
        """
        ...

    async def survey(self, now: Micros, held: Collection[int]) -> Survey:
        """Which lanes have batches that are due, or whose lease ended, and when more will be; `held` as in `claim`."""
        ...

    async def claim(
        self, worker: str, now: Micros, lease_until: Micros, shares: Sequence[Share], held: Collection[int]
    ) -> list[ClaimedBatch]:
        """Takes batches that are due and that nobody holds, or whose lease ended: of each share's lane those whose turn
        it is, until there are enough devices in them. No batch is given to two.

        `held`: ids of batches that the worker still has in hand, which it must not be given again. What cannot be read
        is left out, and logged.
        """
        ...

    async def read_present(self, app_id: str, message_ref: int, device_ids: Sequence[str]) -> Reading:
        """What a hand-over is decided by, as it is now: statements of their own, on the primary, outside any open
        transaction.
        """
        ...

    async def start(self, batch_id: int, lease: str, now: Micros, lease_until: Micros) -> bool:
        """Notes that the batch is about to be handed over, and prolongs the lease. False: it is no longer ours."""
        ...

    async def release(self, worker: str) -> int:
        """Gives back what this worker claimed and has not started; returns how many batches."""
        ...

    async def end_leases(self, now: Micros) -> int:
        """Ends every lease now. Only for a store that this process alone uses; returns how many."""
        ...

    async def reported(self, batch: ClaimedBatch) -> set[tuple[str, str]]:
        """(device id, user id) of the batch's items that have a result already."""
        ...

    async def record(self, reports: Sequence[BatchReport], now: Micros) -> list[Recorded]:
        """Writes results, counts, cursor numbers and follow-up batches in one transaction; a `Recorded` per report.

        A report whose lease is no longer held is `lost` and leaves no trace.
        """
        ...

    async def report(self, report: Report) -> None:
        """Notes what a device reports of a message that was handed over to it, once.

        Raises DeviceNotFound, MessageNotFound, also for a message that was not.
        """
        ...

    async def interaction_counts(self, refs: Sequence[int]) -> dict[int, list[InteractionCount]]:
        """What devices have reported of each message, by network and interaction."""
        ...

    async def interactions_of(self, ref: int, device_ids: Collection[str]) -> dict[str, list[Interaction]]:
        """What each of these devices has reported of a message; those that have not are left out."""
        ...

    async def sweep(self, now: Micros, limit: int) -> int:
        """Deletes what retention has ended: payloads after 7 days, results and messages after 30, request ids after 31,
        counted from a message's last result; binding generations after 90 days, revocations after one, uses of bind
        grants one after their grant's end. At most about `limit` rows; returns how many.
        """
        ...


class Store(ApplicationStore, DeviceStore, TagStore, MessageStore, Protocol):
    """The only truth."""

    @property
    def exclusive(self) -> bool:
        """Whether this process alone can write to it, so that leases of a former process are void at start."""
        ...


class Listener(Protocol):
    """An ear that misses nothing between two waits. Close it when done."""

    async def wait(self, timeout: float) -> bool:
        """Returns True once something has been announced since the last wait, False after `timeout` seconds."""
        ...

    def wake(self) -> None:
        """Makes a wait return, now or the next one."""
        ...

    def close(self) -> None:
        """Ends it."""
        ...


class Subscription(Listener, Protocol):
    """One reader's ear on the results of one message."""

    def recent(self, after_seq: int, limit: int) -> list[Result] | None:
        """The results numbered `after_seq` + 1 and on, without a gap, from memory.

        Empty: nothing beyond `after_seq` has been announced. None: not known here, ask the store.
        """
        ...

    @property
    def completed(self) -> bool:
        """Whether it has been announced that the message has all its results."""
        ...


class Gathering(Listener, Protocol):
    """One reader's ear on the results of many messages."""

    def follow(self, ref: int) -> None:
        """Hears what is announced of this message too, from now on."""
        ...

    def leave(self, ref: int) -> None:
        """Hears no more of it."""
        ...

    def news(self) -> dict[int, list[Recorded] | None]:
        """What has been announced since it was asked last, by message; None: more than is kept, ask the store."""
        ...


class Work(Enum):
    """What somebody may have to do."""

    FIRE = "fire"
    PLAN = "plan"
    DELIVER = "deliver"


class Queue(Protocol):
    """Wake-ups and announcements between parts of Bellhop.

    Never truth: it may lose anything. Leases and polling repair that.
    """

    def announce_work(self, work: Work) -> None:
        """Something to do has been committed."""
        ...

    def listen(self, work: Work) -> Listener:
        """Hears that kind of work from now on."""
        ...

    def announce_results(self, recorded: Recorded) -> None:
        """These results have been committed."""
        ...

    def subscribe(self, ref: int) -> Subscription:
        """Hears what is announced of a message from now on."""
        ...

    def gather(self) -> Gathering:
        """Hears what is announced of the messages that it is told to follow."""
        ...


class GrantSigner(Protocol):
    """Makes texts of bind grants that nobody else can make."""

    def sign(self, grant: Grant) -> str:
        """Up to 8192 visible ASCII characters. Its `expire_time` is a whole second."""
        ...

    def read(self, text: str) -> Grant:
        """What was granted, be it over or not. Raises CredentialsInvalid for whatever was not signed here."""
        ...


class Sealer(Protocol):
    """Keeps keys of stamps from whoever reads the store."""

    def seal(self, key: bytes, app_id: str, device_id: str) -> bytes:
        """Sealed so that it opens for this device only."""
        ...

    def open(self, sealed: bytes, app_id: str, device_id: str) -> bytes | None:
        """The key. None: it cannot be opened."""
        ...


class Provider(Protocol):
    """A network. Its failures are answers; it raises nothing."""

    @property
    def platform(self) -> Platform:
        """Which network."""
        ...

    async def send(
        self, chunk: Chunk, report: Callable[[int, Answer], None], handed_over: Callable[[int], None]
    ) -> None:
        """Hands the deliveries over and calls `report(index, answer)` exactly once for each, from the event loop.

        Returns when all are reported. By `chunk.deadline` each has been answered, has certainly been received by the
        provider's end, or will never be: then its stream is reset, and it is UNKNOWN if any of it may have left, else
        NOT_SENT. Nothing is written later. `handed_over(index)` is called, once at most, when one has been received
        whose answer is still out; not where the answer is there first.
        """
        ...

    def accept(self, offer: CredentialOffer, present: ProviderSecret | None) -> ProviderSecret:
        """What is to be stored for an offer, in place of what is there under its name. Asks nobody.

        Raises InvalidRequest, with fields named as in SetCredentialRequest, and KeyChangeRefused.
        """
        ...

    async def probe(self, credential: Credential) -> ProbeResult:
        """Tries a credential at the provider without reaching any device."""
        ...

    async def check_target(self, target: Target) -> list[Violation]:
        """What is wrong with a target of this network that a stranger has named, fields named as in
        RegisterDeviceRequest; empty: nothing.
        """
        ...

    def explain(self, chunk: Chunk) -> list[ProviderRequest | Answer]:
        """For each delivery the request that `send` would make, or what it would answer at once. Sends nothing."""
        ...

    def breakers(self, app_id: str | None = None) -> list[Breaker]:
        """What of an application, or of all, is left alone for now."""
        ...

    def forget(self, app_id: str, credential_id: str) -> None:
        """The credential was replaced or deleted: closes what was open under it, closes its breaker."""
        ...

    async def aclose(self) -> None:
        """Waits for answers that are under way, for a bounded time, then closes everything."""
        ...

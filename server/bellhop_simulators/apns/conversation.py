"""What a simulated APNs says to the requests of one connection to one of its environments."""

import uuid
from dataclasses import dataclass

from bellhop_simulators.apns import rules
from bellhop_simulators.apns.answers import answer, scripted
from bellhop_simulators.apns.provider_tokens import Session
from bellhop_simulators.apns.rules import ACCEPTED, Verdict, refusal
from bellhop_simulators.apns.world import ApnsWorld
from bellhop_simulators.faults.actions import Then
from bellhop_simulators.faults.conditions import Facts
from bellhop_simulators.faults.playback import Answer
from bellhop_simulators.http.request import Request


@dataclass(slots=True)
class ApnsCase:
    """One push and the verdict about it."""

    world: ApnsWorld
    request: Request
    facts: Facts
    message_id: str
    verdict: Verdict

    @property
    def taken(self) -> bool:
        """Whether the push is taken."""
        return self.verdict.status == 200

    def deliver(self) -> None:
        """Give it to its phone."""
        facts, expiration = self.facts, self.request.header("apns-expiration")
        self.world.devices.deliver(facts.token or "", facts.app or "", self.message_id, expiration, self.request.body)

    def answer(self, then: Then) -> Answer:
        """The verdict, or that of `then`."""
        verdict = self.verdict if then.status is None else scripted(then, then.status, self.world.clock.now())
        return answer(verdict, self.facts.environment or "", self.message_id)


class ApnsConversation:
    """One connection."""

    def __init__(self, world: ApnsWorld, environment: str) -> None:
        self._world = world
        self._environment = environment
        self._session = Session()
        self._rejected = False

    @property
    def limit(self) -> int:
        """By the latest of its answers with 200, 400 or 403."""
        return self._world.concurrency.limit(authenticated=self._session.authenticated, rejected=self._rejected)

    def answered(self, status: int) -> None:
        """See whether that was a rejection."""
        if status in (200, 400, 403):
            self._rejected = status != 200

    def facts(self, request: Request) -> Facts:
        """What the header list tells."""
        return self._facts(request, dict(request.headers))

    def judge(self, request: Request) -> ApnsCase:
        """Judge a push."""
        headers = dict(request.headers)
        # Authentication is looked at first, whatever is told in the end, because the connection's limit depends on it.
        refused = self._world.provider_tokens.check(self._session, headers.get("authorization"), self._environment)
        facts = self._facts(request, headers)
        repeated = len(headers) != len(request.headers)
        verdict = self._verdict(request, headers, facts, refused, repeated=repeated)
        given = headers.get("apns-id")
        apns_id = given if given is not None and rules.is_uuid(given) else str(uuid.uuid4()).upper()
        return ApnsCase(self._world, request, facts, apns_id, verdict)

    def _facts(self, request: Request, headers: dict[str, str]) -> Facts:
        topic = headers.get("apns-topic", "")
        return Facts(
            "apns",
            environment=self._environment,
            token=rules.device_token(headers.get(":path", "")),
            topic=topic,
            app=rules.bundle_id(topic),
            key_id=self._world.provider_tokens.key_id(headers.get("authorization")),
            push_type=headers.get("apns-push-type", ""),
            host=request.host,
        )

    def _verdict(
        self, request: Request, headers: dict[str, str], facts: Facts, unauthenticated: str, *, repeated: bool
    ) -> Verdict:
        reason = rules.judge_head(headers, repeated=repeated)
        if reason:
            return refusal(reason)
        verdict = self._world.devices.judge(facts.token or "", self._environment, facts.app or "")
        if verdict is not ACCEPTED:
            return verdict
        reason = unauthenticated
        if not reason and facts.app not in self._session.topics:
            reason = "InvalidProviderToken"
        reason = reason or rules.judge_payload(request, headers.get("apns-push-type"))
        return refusal(reason) if reason else ACCEPTED

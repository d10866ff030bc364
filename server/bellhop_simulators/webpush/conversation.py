"""What a simulated push service says to the requests of one connection."""

import uuid
from dataclasses import dataclass

from bellhop_simulators.faults.actions import Then
from bellhop_simulators.faults.conditions import Facts
from bellhop_simulators.faults.playback import Answer
from bellhop_simulators.http.request import Request
from bellhop_simulators.serving.conversation import Case
from bellhop_simulators.webpush.browser import BrowserMessage
from bellhop_simulators.webpush.decryption import UndecryptableError
from bellhop_simulators.webpush.personas import Persona, persona_of
from bellhop_simulators.webpush.push import Push, Verdict, repeated_header
from bellhop_simulators.webpush.world import WebPushWorld

_NOT_FOUND = Verdict(404, "no such resource")


@dataclass(slots=True)
class PushCase:
    """One push and the verdict about it."""

    world: WebPushWorld
    persona: Persona
    push: Push
    facts: Facts
    verdict: Verdict

    @property
    def message_id(self) -> str:
        """The message's, also the last part of its resource."""
        return self.push.message_id

    @property
    def taken(self) -> bool:
        """Whether the push is taken."""
        return self.verdict.status == 201

    def deliver(self) -> None:
        """Give it to its browser, if that is one of ours; services take what no browser can read as well."""
        push, facts, subscription = self.push, self.facts, self.push.subscription
        self.world.resources.add(self.persona.name, push.message_id, subscription)
        data: bytes | None = None
        if subscription is None:
            facts.undecryptable = "the keys of this subscription are not known here"
            return
        if push.size:
            try:
                data = subscription.decrypt(push.body)
                facts.decrypted = data.decode("utf-8", "replace")
            except UndecryptableError as error:
                facts.undecryptable = str(error)
        now = self.world.clock.now()
        message = BrowserMessage(push.message_id, data, self.verdict.ttl, push.urgency, push.topic, now)
        subscription.deliver(message, readable=facts.undecryptable is None)

    def answer(self, then: Then) -> Answer:
        """The verdict, or that of `then`; with `Location` and `TTL` (RFC 8030 sections 5 and 5.2) if it is 201."""
        persona, message_id = self.persona, self.push.message_id
        verdict = self.verdict if then.status is None else persona.scripted(then.status, then.reason)
        headers = [*verdict.headers]
        if persona.id_header:
            headers.append((persona.id_header, message_id))
        if verdict.status == 201:
            path = self.world.resources.path(persona.name, message_id)
            headers += [("location", f"https://{self.push.authority}{path}"), ("ttl", str(self.verdict.ttl))]
        return Answer(verdict.status, headers, verdict.body, verdict.reason)


@dataclass(slots=True)
class ResourceCase:
    """A request that is no push: DELETE of a message resource, or a path that nothing is at."""

    facts: Facts
    verdict: Verdict
    message_id: str = ""
    taken: None = None

    def deliver(self) -> None:
        """There is nothing to deliver."""

    def answer(self, then: Then) -> Answer:
        """The verdict, or the status of `then`."""
        if then.status is not None:
            return Answer(then.status, [], b"", then.reason or "")
        return Answer(self.verdict.status, [*self.verdict.headers], self.verdict.body, self.verdict.reason)


class WebPushConversation:
    """One connection."""

    def __init__(self, world: WebPushWorld) -> None:
        self._world = world

    @property
    def limit(self) -> int:
        """Always the same."""
        return self._world.max_concurrent_streams

    def answered(self, status: int) -> None:
        """Change nothing."""

    def facts(self, request: Request) -> Facts:
        """What the header list tells."""
        path, authority = request.header(":path") or "", request.header(":authority") or ""
        persona, subscription = persona_of(path), self._world.subscriptions.at(path)
        return Facts(
            "web_push",
            call="delete" if self._world.resources.is_path(path) else "send",
            token=subscription.subscription_id if subscription else persona.token(path) if persona else "",
            topic=request.header("topic") or "",
            persona=persona.name if persona else "",
            host=_host(authority),
        )

    def judge(self, request: Request) -> Case:
        """Judge a push, or delete a message."""
        facts = self.facts(request)
        path = request.header(":path") or ""
        persona = persona_of(path)
        if facts.call == "delete":
            return ResourceCase(facts, self._delete(request, path))
        if persona is None:
            return ResourceCase(facts, _NOT_FOUND)
        push = self._push(request, persona, path)
        return PushCase(self._world, persona, push, facts, persona.judge(push))

    def _delete(self, request: Request, path: str) -> Verdict:
        if request.header(":method") != "DELETE":
            return Verdict(405, "only DELETE", [("allow", "DELETE")])
        return Verdict(204) if self._world.resources.delete(path) else _NOT_FOUND

    def _push(self, request: Request, persona: Persona, path: str) -> Push:
        world, headers = self._world, dict(request.headers)
        authority = headers.get(":authority", "").lower().removesuffix(":443")
        vapid = world.tokens.check(
            headers.get("authorization"), headers.get("crypto-key"), f"https://{authority}", world.clock.now()
        )
        return Push(
            message_id=str(uuid.uuid4()).upper(),
            method=headers[":method"],
            authority=authority,
            path=path,
            headers=headers,
            repeated=repeated_header(request.headers),
            body=request.body,
            size=request.size,
            token="" if world.subscriptions.is_garbled(path) else persona.token(path),
            vapid=vapid,
            subscription=world.subscriptions.at(path),
        )


def _host(authority: str) -> str:
    """Without port and brackets, in lower case."""
    host, _, port = authority.rpartition(":")
    return (host if host and port.isdigit() else authority).strip("[]").lower()

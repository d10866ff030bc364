"""A single request to a server, for whoever wants its answer."""

import asyncio

from bellhop_server.domain.notification import Priority
from bellhop_server.providers.backlog import Failure
from bellhop_server.providers.engine import Headers, Reply
from bellhop_server.providers.pool import Pool


class Question:
    """A `Batch` of one."""

    size = 1
    priority = Priority.HIGH
    weight = 1

    def __init__(self, headers: Headers, body: bytes, deadline: float) -> None:
        self.deadline = deadline
        self.largest_body = len(body)
        self.answer: asyncio.Future[Reply | Failure] = asyncio.get_running_loop().create_future()
        self._request = headers, body

    def request(self, index: int) -> tuple[Headers, bytes]:
        return self._request

    def handed_over(self, index: int) -> None:
        """The answer alone counts."""

    def done(self, index: int, result: Reply | Failure, connection: object) -> None:
        if not self.answer.done():
            self.answer.set_result(result)


async def ask(pool: Pool, headers: Headers, body: bytes, deadline: float) -> Reply | Failure:
    """What comes back by a pool that is made for this alone: it is closed then. `deadline` in monotonic seconds."""
    question = Question(headers, body, deadline)
    try:
        pool.send(question)
        return await question.answer
    finally:
        await pool.aclose(0)

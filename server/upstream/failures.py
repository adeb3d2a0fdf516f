"""How a model can fail us, whether it writes or embeds, as a family; `name` is what the log calls each.

    LLMFailure
    ├── LLMTimeout        it took too long: to connect, to the first token, to the next one, or in all
    ├── LLMUnavailable    it cannot be reached, is overloaded, refuses us, or is left alone because it kept failing
    ├── LLMBadResponse    what it says is not what the interface promises
    └── LLMCutOff         it stopped in the middle

None of them is ever shown to a visitor, and none holds a text that somebody else wrote.
"""

from typing import ClassVar


class LLMFailure(Exception):
    """A call to a model failed.

    `status` is the log's word for how, such as `FIRST_TOKEN_TIMEOUT` or `HTTP_503`; `code` is the upstream's own. `again` says that
    the same call may be made again; `retry_after` (seconds) is when the upstream would like that. `ours` says that the fault is in
    what was asked, so it says nothing about the upstream.
    """

    name: ClassVar[str]

    def __init__(
        self,
        status: str,
        *,
        code: str | None = None,
        again: bool = False,
        retry_after: float | None = None,
        ours: bool = False,
    ) -> None:
        super().__init__(status)
        self.status = status
        self.code = code
        self.again = again
        self.retry_after = retry_after
        self.ours = ours


class LLMTimeout(LLMFailure):
    """It took too long."""

    name = "timeout"


class LLMUnavailable(LLMFailure):
    """It cannot be reached or does not serve us."""

    name = "unavailable"


class LLMBadResponse(LLMFailure):
    """What it says is not what the interface promises."""

    name = "bad_response"


class LLMCutOff(LLMFailure):
    """It stopped in the middle."""

    name = "cut_off"


CIRCUIT_OPEN = "CIRCUIT_OPEN"
"""The status of a call that was not made because the breaker is open."""

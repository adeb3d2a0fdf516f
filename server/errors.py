"""What can go wrong, as a family, and the one envelope in which a client hears of it.

    ChatKitError                      status  code
    ├── InvalidRequest                400     invalid_request
    │   ├── MessageTooLong            400     message_too_long
    │   ├── SelectedTextTooLong       400     selected_text_too_long
    │   ├── InvalidEmail              400     invalid_email
    │   ├── ConsentRequired           400     consent_required
    │   ├── InvalidToken              400     invalid_token
    │   └── TokenExpired              400     token_expired
    ├── Unauthorized                  401     unauthorized
    │   └── SessionExpired            401     session_expired
    ├── Forbidden                     403     forbidden
    ├── NotFound                      404     not_found
    │   └── SessionNotFound           404     session_not_found
    ├── MethodNotAllowed              405     method_not_allowed
    ├── RequestTimedOut               408     invalid_request
    ├── PayloadTooLarge               413     payload_too_large
    ├── UnsupportedMediaType          415     unsupported_media_type
    ├── RateLimited                   429     rate_limited
    ├── ServiceUnavailable            503     service_unavailable
    └── InternalError                 500     internal_error

Services raise these and know nothing of HTTP; `status` only says which answer the error becomes. Whatever is raised
that is not of this family is a bug: the client hears `InternalError`, the log everything.

Every envelope is flat: `error`, `message`, `request_id`, and `retry_after` or `details` where they apply.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

# Pydantic reads these for the API's description, and wants this one's TypedDict before Python 3.12.
from typing_extensions import NotRequired, TypedDict  # noqa: UP035


class Detail(TypedDict):
    """One thing wrong with a request: the field as a dotted path, the reason, and what to send instead."""

    field: str
    problem: str


class Envelope(TypedDict):
    """The body of every error, whatever its status."""

    error: str
    message: str
    request_id: str
    retry_after: NotRequired[int]
    details: NotRequired[Sequence[Detail]]


class ChatKitError(Exception):
    """An error with an answer of its own. `message` is shown to people, so it never names an internal."""

    status: ClassVar[int]
    code: ClassVar[str]
    message: str
    headers: Mapping[str, str]

    def __init__(
        self,
        message: str,
        *,
        details: Sequence[Detail] = (),
        retry_after: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.details = details
        self.retry_after = retry_after
        self.headers = dict(headers or {})
        if retry_after is not None:
            self.headers["Retry-After"] = str(retry_after)

    def envelope(self, request_id: str) -> Envelope:
        """The body for the client."""
        body = Envelope(error=self.code, message=self.message, request_id=request_id)
        if self.retry_after is not None:
            body["retry_after"] = self.retry_after
        if self.details:
            body["details"] = self.details
        return body


class InvalidRequest(ChatKitError):
    """The request cannot be understood; `details` names each field."""

    status, code = 400, "invalid_request"


class MessageTooLong(InvalidRequest):
    """The question is over its limit."""

    code = "message_too_long"


class SelectedTextTooLong(InvalidRequest):
    """The selected text is over its limit."""

    code = "selected_text_too_long"


class InvalidEmail(InvalidRequest):
    """No mail can be sent to what was given as an address."""

    code = "invalid_email"


class ConsentRequired(InvalidRequest):
    """An account is made only with its owner's consent."""

    code = "consent_required"


class InvalidToken(InvalidRequest):
    """A token, given to be spent, that is none, or is spent."""

    code = "invalid_token"


class TokenExpired(InvalidRequest):
    """A token, given to be spent, whose time is over."""

    code = "token_expired"


class Unauthorized(ChatKitError):
    """It takes a session, and there is none that is known."""

    status, code = 401, "unauthorized"

    def __init__(self, message: str) -> None:
        super().__init__(message, headers={"WWW-Authenticate": "Bearer"})


class SessionExpired(Unauthorized):
    """There was a session; it has ended."""

    code = "session_expired"


class Forbidden(ChatKitError):
    """Understood and refused."""

    status, code = 403, "forbidden"


class NotFound(ChatKitError):
    """There is nothing here, or nothing that this client may know of."""

    status, code = 404, "not_found"


class SessionNotFound(NotFound):
    """The session that was named is none, or is not the visitor's."""

    code = "session_not_found"


class MethodNotAllowed(ChatKitError):
    """The address exists, but not for this method; `Allow` says for which."""

    status, code = 405, "method_not_allowed"


class RequestTimedOut(ChatKitError):
    """The body did not arrive in time."""

    status, code = 408, "invalid_request"


class PayloadTooLarge(ChatKitError):
    """The body is larger than any valid one."""

    status, code = 413, "payload_too_large"


class UnsupportedMediaType(ChatKitError):
    """The body is not JSON."""

    status, code = 415, "unsupported_media_type"


class RateLimited(ChatKitError):
    """Too often; `retry_after` says when again (seconds)."""

    status, code = 429, "rate_limited"


class ServiceUnavailable(ChatKitError):
    """Not now; `retry_after` says when (seconds)."""

    status, code = 503, "service_unavailable"


class InternalError(ChatKitError):
    """What a client hears of a bug: that there was one, and the ID to quote."""

    status, code = 500, "internal_error"

    def __init__(self) -> None:
        super().__init__("An unexpected error occurred. Please try again later.")

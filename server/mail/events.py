"""What the log tells of mail: each event carries the ID of the request that asked for the letter, so `trace` finds both.

The address is in them, because who asks why mail does not arrive asks about an address; the message, its link and the server's words about
it are not. Sending happens outside of any request, so `http_request` has no time for it: `duration_ms` of these has.
"""

from pipeline.catalogue import Event, Field, declare
from pipeline.exceptions import EXCEPTION_FIELDS

_LETTER = {
    "to_email": Field("to whom", free=True),
    "kind": Field("what kind of letter"),
    "letter": Field("its ID; the mail's Message-ID begins with it"),
}
_FAILURE = {
    "stage": Field(
        "how far it came: `compose`, `message`, `connect`, `tls`, `login`, `hello`, `sender`, `recipient`, `data`, `write`, `setup`, `attempt` (the whole of it took too long, or is a bug)"
    ),
    "reason": Field("the type of what stopped it"),
    "status": Field("the other side's code for it, such as `450 4.2.1`, or null", free=True),
}

declare(
    [
        Event(
            "mail_not_configured",
            "WARNING",
            "No mail can be sent: in production `SMTP_HOST` must name a mail server. Everything else works.",
        ),
        Event(
            "email_sent",
            "INFO",
            "A mail server has taken a letter. Whether it reaches its reader is that server's to tell.",
            {
                **_LETTER,
                "attempts": Field("how many it took"),
                "duration_ms": Field("how long the last of them took"),
                "receipt": Field("the server's answer, by which its own log can be searched", free=True),
            },
        ),
        Event(
            "email_sent_mock",
            "INFO",
            "Nobody receives this letter: without a mail server, in development, it is put into a file.",
            {**_LETTER, "attempts": Field("how many it took"), "file": Field("where it lies")},
        ),
        Event(
            "email_delayed",
            "WARNING",
            "A letter was not taken and will be tried again.",
            {
                **_LETTER,
                **_FAILURE,
                "attempts": Field("how many there were"),
                "next_attempt_seconds": Field("from now, at the earliest"),
            },
        ),
        Event(
            "email_given_up",
            "ERROR",
            "A letter will not be sent: it was refused for good, or could not be sent for hours.",
            {
                **_LETTER,
                **_FAILURE,
                "attempts": Field("how many there were"),
                "age_seconds": Field("since it was asked for"),
            },
        ),
        Event(
            "email_dropped",
            "INFO",
            "A letter is no longer wanted, because its link was used already, or nobody agreed to letters there.",
            {**_LETTER, "age_seconds": Field("since it was asked for")},
        ),
        Event(
            "mail_failed",
            "ERROR",
            "A bug kept a letter from being composed, or the outbox from going on for a moment; it is tried again.",
            {"kind": Field("what kind of letter, or null"), **EXCEPTION_FIELDS},
        ),
    ]
)

"""People who use a server over HTTP: they sign up, read their letters, ask, and keep what they are told."""

import email
import email.policy
import json
import re
import secrets
from email.message import EmailMessage
from typing import Any

from tests.harness import Answer, ServerProcess, exchange, request_bytes
from tests.waiting import until

LINK = re.compile(r"https?://\S+#chatkit-sign-in=(ckv_[A-Za-z0-9_-]{43})")


class Visitor:
    """One visitor of `server`. `token` is shown with every request, once there is one."""

    def __init__(self, server: ServerProcess, token: str | None = None) -> None:
        self.server = server
        self.token = token

    def send(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        """One request."""
        sent = dict(headers or {})
        if self.token is not None:
            sent.setdefault("Authorization", f"Bearer {self.token}")
        raw = b""
        if body is not None:
            sent.setdefault("Content-Type", "application/json")
            raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return exchange(self.server.address, request_bytes(method, path, sent, raw))

    def post(self, path: str, body: Any = None, **headers: str) -> Answer:
        return self.send("POST", f"/api/v1{path}", body, headers)

    def get(self, path: str, **headers: str) -> Answer:
        return self.send("GET", f"/api/v1{path}", None, headers)

    def ask(self, message: str = "How do I trace a request?", **more: Any) -> dict[str, Any]:
        """The answer to a question."""
        answer = self.post("/chat", {"message": message, **more})
        assert answer.status == 200, answer.raw
        return dict(answer.json())

    def sign_up(self, address: str, **more: Any) -> dict[str, Any]:
        """Ask for a letter."""
        answer = self.post("/auth/signup", {"email": address, "consent": True, **more})
        assert answer.status == 202, answer.raw
        return dict(answer.json())

    def sign_in(self, address: str) -> dict[str, Any]:
        """Sign up, read the letter, follow its link; the session, whose token is shown from now on."""
        before = len(letters(self.server, address))
        self.sign_up(address)
        until(lambda: len(letters(self.server, address)) > before, f"a letter to {address}")
        answer = self.post("/auth/verify", {"token": link_token(self.server, address)})
        assert answer.status == 200, answer.raw
        session = dict(answer.json())
        self.token = session["token"]
        return session


def anonymous_token() -> str:
    """As the widget makes one."""
    return f"cka_{secrets.token_urlsafe(32)}"


def letters(server: ServerProcess, address: str = "") -> list[EmailMessage]:
    """The letters that were sent, to `address` or to anybody, in the order written."""
    folder = server.folder / server.settings.get("MAIL_DIR", "var/mail")
    found = []
    for file in sorted(folder.glob("*.eml")) if folder.exists() else []:
        letter = email.message_from_bytes(file.read_bytes(), policy=email.policy.default)
        assert isinstance(letter, EmailMessage)
        if address in str(letter["To"]):
            found.append(letter)
    return found


def text_of(letter: EmailMessage) -> str:
    part = letter.get_body(("plain",))
    assert part is not None
    return str(part.get_content())


def link_token(server: ServerProcess, address: str) -> str:
    """The token in the newest letter to `address`, once it is there. A letter is used once."""
    found = until(lambda: letters(server, address), f"a letter to {address}")
    link = LINK.search(text_of(found[-1]))
    assert link is not None, text_of(found[-1])
    return link[1]

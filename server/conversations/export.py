"""A conversation as a file for people: Markdown, in which what was said stands as it was said."""

from .models import WholeConversation

_MARKS = str.maketrans({mark: f"\\{mark}" for mark in "\\`*_{}[]<>#|"})


def markdown(conversation: WholeConversation) -> str:
    """`conversation` as CommonMark. An answer is light Markdown already; a title and a question are plain text, and stay so."""
    parts = [f"# {conversation.title.translate(_MARKS)}"]
    for turn in conversation.turns:
        quoted = "\n".join(f"> {line.translate(_MARKS)}" for line in turn.question.splitlines())
        parts += [f"**{turn.asked_at}**", quoted, turn.answer]
        if turn.state == "cut_off":
            parts.append("*The answer was cut off.*")
        if turn.sources:
            parts.append(
                "\n".join(
                    f"{number}. {source.title.translate(_MARKS)} {f'<{source.url}>' if source.url else ''}".rstrip()
                    for number, source in enumerate(turn.sources, 1)
                )
            )
    return "\n\n".join(parts) + "\n"

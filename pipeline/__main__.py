"""Read ChatKit's event log, whether the server runs or not.

    python -m pipeline trace ID         everything about one request, in order; the ID is the one the visitor saw
    python -m pipeline tail [-f]        the newest events; -f shows those that come
    python -m pipeline verify           whether the log is whole: gaps, torn and damaged lines, checksums

On a terminal events are drawn; into a pipe they go as the JSON lines they are.
"""

import argparse
import os
import sys
from pathlib import Path

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the exit status. Imports only what that command needs."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help(sys.stderr)
        return 2
    try:
        if options.command == "trace":
            from .reading import trace

            return trace.run(options.log_dir, options.id, as_json=options.json or not sys.stdout.isatty())
        if options.command == "verify":
            from .reading import verify

            return verify.run(options.log_dir, as_json=options.json)
        from .reading import tail

        test = tail.wanted(options.level, options.event, options.where)
        return tail.run(
            options.log_dir, count=options.lines, following=options.follow, test=test, words=options.words
        )
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read us has what it wanted. The interpreter would complain once more when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _count(text: str) -> int:
    """For argparse: a number of lines."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError("must be a whole number, 0 or more")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pipeline", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--log-dir",
        type=Path,
        default=Path(os.environ.get("LOG_DIR", "var/log")),
        metavar="DIR",
        help="where the log is (default: LOG_DIR, or var/log)",
    )
    commands = parser.add_subparsers(dest="command", metavar="", title="commands")
    trace = commands.add_parser(
        "trace",
        parents=[common],
        help="everything about one request",
        description="Shows everything about one request, in order, with the time each part took. Exits with 1 when the log "
        "has nothing of it.",
        epilog="Example: python -m pipeline trace 7d3f2b1c-8a4e-4c55-9d0e-2f6f1b9a3c10",
    )
    trace.add_argument("id", metavar="ID", help="the request's ID: a widget's Reference ID, an X-Request-ID")
    trace.add_argument("--json", action="store_true", help="JSON lines, also on a terminal")
    tail = commands.add_parser(
        "tail",
        parents=[common],
        help="the newest events",
        description="Shows the newest events, and with -f those that come, over rotations and restarts.",
        epilog="Example: python -m pipeline tail -f --level WARNING --where route=/api/v1/chat",
    )
    tail.add_argument("-f", "--follow", action="store_true", help="go on with those that come")
    tail.add_argument("-n", "--lines", type=_count, default=20, metavar="N", help="how many (default: 20)")
    tail.add_argument("--level", choices=LEVELS, default="DEBUG", help="only events of at least this level")
    tail.add_argument("--event", metavar="NAME", help="only events of this name")
    tail.add_argument(
        "--where",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="only events with this field; may be repeated",
    )
    tail.add_argument(
        "--as",
        dest="words",
        choices=("otel", "ecs"),
        help="in the words of OpenTelemetry (an OTLP/JSON request each) or of the Elastic Common Schema",
    )
    verify = commands.add_parser(
        "verify",
        parents=[common],
        help="whether the log is whole",
        description="Reads the whole log and tells of gaps, torn and damaged lines, and blocks whose checksum is wrong. Exits with 1 "
        "when there is any, or no log.",
        epilog="Example: python -m pipeline verify --json | jq .problems",
    )
    verify.add_argument("--json", action="store_true", help="one JSON object, for programs")
    return parser


if __name__ == "__main__":
    sys.exit(main())

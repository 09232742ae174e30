"""Options as pflag reads them."""

from __future__ import annotations

import pytest

from boxwright.cli.flags import REMAINDER, SUPPRESS, FlagError, HelpRequested, Parser, UsageError
from boxwright.cli.help import command_help
from boxwright.errors import Invalid


def images() -> Parser:
    p = Parser("boxwright images", "List images")
    p.add_argument("repository", nargs="?", metavar="REPOSITORY[:TAG]")
    p.add_argument("-a", "--all", action="store_true", help="Show all images")
    p.add_argument("-q", "--quiet", action="store_true", help="Only show image IDs")
    p.add_argument("--trunc", action="store_false", dest="no_trunc", default=True)
    p.add_argument("-f", "--filter", action="append", metavar="filter", help="Filter output")
    p.add_argument("-n", "--last", type=int, default=-1, help="Show n last")
    p.add_argument("--format", help="Format output")
    p.add_argument("--progress", choices=("auto", "plain"), default="auto")
    p.add_argument("--push", nargs="?", const="yes")
    p.add_argument("-V", "--verbose", action="count")
    p.add_argument("--hidden", help=SUPPRESS)
    return p


def run() -> Parser:
    p = Parser("boxwright run", "Run")
    p.usage = "IMAGE [COMMAND] [ARG...]"
    p.add_argument("image")
    p.add_argument("command", nargs=REMAINDER)
    p.add_argument("-i", "--interactive", action="store_true")
    p.add_argument("-t", "--tty", action="store_true")
    p.add_argument("-e", "--env", action="append")
    p.add_argument("-h", "--hostname")
    return p


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "",
            {
                "all": False,
                "repository": None,
                "filter": [],
                "last": -1,
                "progress": "auto",
                "push": None,
                "verbose": 0,
            },
        ),
        ("-aq busybox", {"all": True, "quiet": True, "repository": "busybox"}),
        ("busybox -a", {"all": True, "repository": "busybox"}),
        ("--all=false", {"all": False}),
        ("--all=1 -q=F", {"all": True, "quiet": False}),
        ("-n3", {"last": 3}),
        ("-n=3", {"last": 3}),
        ("-n 3", {"last": 3}),
        ("-qn 3", {"last": 3, "quiet": True}),
        ("--last=-2", {"last": -2}),
        ("--last -2", {"last": -2}),
        ("-f a=b --filter c=d --filter=e=f", {"filter": ["a=b", "c=d", "e=f"]}),
        ("--format=", {"format": ""}),
        ("--push", {"push": "yes"}),
        ("--push=no", {"push": "no"}),
        ("--push busybox", {"push": "yes", "repository": "busybox"}),
        ("-VV --verbose", {"verbose": 3}),
        ("--trunc", {"no_trunc": False}),
        ("--trunc=false", {"no_trunc": True}),
        ("-- -a", {"all": False, "repository": "-a"}),
        ("-", {"repository": "-"}),
        ("--hidden x", {"hidden": "x"}),
    ],
)
def test_values(line: str, expected: dict[str, object]) -> None:
    values = images().parse_args(line.split())
    assert {name: getattr(values, name) for name in expected} == expected


def test_given_names_what_was_typed() -> None:
    assert images().parse_args(["-a", "--last=-1"]).given == {"all", "last"}


def test_defaults_are_not_shared() -> None:
    parser = images()
    parser.parse_args(["-f", "x"])
    parser.parse_args([]).filter.append("y")
    assert parser.parse_args([]).filter == []


def test_run_stops_at_the_image() -> None:
    values = run().parse_args(["-it", "-e", "A=1", "busybox", "sh", "-c", "echo", "--tty=false", "--"])
    assert values.interactive and values.tty and values.env == ["A=1"]
    assert values.image == "busybox"
    assert values.command == ["sh", "-c", "echo", "--tty=false", "--"]


def test_run_keeps_two_dashes_after_the_image_and_drops_them_before() -> None:
    assert run().parse_args(["busybox", "--", "-x"]).command == ["--", "-x"]
    assert run().parse_args(["--", "busybox", "-x"]).command == ["-x"]


def test_h_is_the_hostname_where_it_is_declared() -> None:
    assert run().parse_args(["-h", "web", "busybox"]).hostname == "web"
    with pytest.raises(HelpRequested):
        images().parse_args(["-h"])


@pytest.mark.parametrize(
    ("line", "message", "code"),
    [
        ("--foo", "unknown flag: --foo", 125),
        ("--al", "unknown flag: --al", 125),
        ("-x", "unknown shorthand flag: 'x' in -x", 125),
        ("-ax", "unknown shorthand flag: 'x' in -ax", 125),
        ("--filter", "flag needs an argument: --filter", 125),
        ("-af", "flag needs an argument: 'f' in -af", 125),
        (
            "-n x",
            'invalid argument "x" for "-n, --last" flag: strconv.ParseInt: parsing "x": invalid syntax',
            125,
        ),
        (
            "-n 9223372036854775808",
            'invalid argument "9223372036854775808" for "-n, --last" flag: '
            'strconv.ParseInt: parsing "9223372036854775808": value out of range',
            125,
        ),
        (
            "--all=maybe",
            'invalid argument "maybe" for "-a, --all" flag: strconv.ParseBool: parsing "maybe": invalid syntax',
            125,
        ),
        ("--progress loud", 'invalid argument "loud" for "--progress" flag: must be one of auto, plain', 125),
        ("a b", "boxwright: 'boxwright images' requires at most 1 argument", 1),
    ],
)
def test_errors_in_dockers_words(line: str, message: str, code: int) -> None:
    with pytest.raises(UsageError) as caught:
        images().parse_args(line.split())
    assert str(caught.value) == message
    assert caught.value.exit_code == code


def test_a_near_name_is_suggested() -> None:
    with pytest.raises(FlagError) as caught:
        images().parse_args(["--fromat", "x"])
    assert caught.value.hint == "did you mean --format?"


def test_what_docker_has_and_we_have_not_is_said() -> None:
    """No word that only looks like it."""
    from boxwright.cli import absent
    from boxwright.cli.commands import COMMANDS, GROUPS
    from boxwright.cli.parsers import load, unknown

    assert not set(absent.COMMANDS) & {*COMMANDS, *GROUPS}
    for word, why in absent.COMMANDS.items():
        assert unknown([word]).hint == why
    declared = {name for command in ("run", "build") for o in load(command)[0].options for name in o.names}
    assert not set(absent.OPTIONS) & declared
    for option, why in absent.OPTIONS.items():
        with pytest.raises(FlagError) as caught:
            load("run")[0].parse_args([option, "x"])
        assert caught.value.hint == why


@pytest.mark.parametrize(
    ("shapes", "count", "message"),
    [
        ([None, None], 1, "requires 2 arguments"),
        ([None], 0, "requires 1 argument"),
        ([], 1, "accepts no arguments"),
        (["+"], 0, "requires at least 1 argument"),
        ([None, "?"], 3, "requires at least 1 and at most 2 arguments"),
        ([2], 1, "requires 2 arguments"),
    ],
)
def test_argument_counts(shapes: list[object], count: int, message: str) -> None:
    p = Parser("boxwright x")
    for at, nargs in enumerate(shapes):
        p.add_argument(f"a{at}", nargs=nargs)
    with pytest.raises(UsageError) as caught:
        p.parse_args(["w"] * count)
    assert str(caught.value) == f"boxwright: 'boxwright x' {message}"


def test_positionals_share_words() -> None:
    p = Parser("boxwright cp")
    p.add_argument("sources", nargs="+")
    p.add_argument("target")
    values = p.parse_args(["a", "b", "c"])
    assert (values.sources, values.target) == (["a", "b"], "c")


def test_required_option() -> None:
    p = Parser("boxwright x")
    p.add_argument("--to", required=True)
    with pytest.raises(UsageError, match=r'required flag\(s\) "to" not set'):
        p.parse_args([])


def test_type_errors_keep_their_message() -> None:
    def size(text: str) -> int:
        raise Invalid(f"invalid size: '{text}'")

    p = Parser("boxwright run")
    p.add_argument("-m", "--memory", type=size)
    with pytest.raises(
        FlagError, match='invalid argument "abc" for "-m, --memory" flag: invalid size: \'abc\''
    ):
        p.parse_args(["-m", "abc"])


def test_declaring_an_option_twice_is_a_bug_of_ours() -> None:
    p = Parser("boxwright x")
    p.add_argument("-a", "--all")
    with pytest.raises(TypeError, match="-a is declared twice"):
        p.add_argument("-a", "--attach")
    with pytest.raises(TypeError, match="unknown option of add_argument: hlep"):
        p.add_argument("--b", hlep="x")


def test_help() -> None:
    text = command_help(images(), "images", 80)
    assert text.startswith(
        "Usage:  boxwright images [OPTIONS] [REPOSITORY[:TAG]]\n\nList images\n\nAliases:\n"
    )
    assert "  -a, --all               Show all images\n" in text
    assert "  -f, --filter filter     Filter output\n" in text
    assert "  -n, --last int          Show n last (default -1)\n" in text
    assert "      --progress string   " in text and '(default "auto")' in text
    assert "hidden" not in text
    assert run().usage_line() == "boxwright run [OPTIONS] IMAGE [COMMAND] [ARG...]"


def test_help_wraps_at_the_width() -> None:
    p = Parser("boxwright x", "X")
    p.add_argument("--long", help="word " * 40)
    assert (
        max(
            len(line)
            for line in command_help(p, "images", 60).splitlines()
            if "Aliases" not in line and "image" not in line
        )
        <= 60
    )

"""What holds for every command: help with examples that can be typed, one JSON document, exit statuses."""

import json
import shlex
from collections.abc import Iterator

import click
import peewee
import pytest
from marshmallow import Schema

import commands
from commands import channels, sessions, users
from commands.base import EXIT_STATUS, PROGRAM, Command
from commands.text import aligned, sheet, table, word
from schemas import ChannelCreate, ChannelQuery, ChannelUpdate, Page
from schemas_admin import FeedQuery, LimitsIn
from tests.box import PROJECT


def every(group: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Command]]:
    path = (*path, group.name)
    if isinstance(group, click.Group):
        for each in group.commands.values():
            yield from every(each, path)
    else:
        yield " ".join(path), group


ALL = dict(pair for group in commands.GROUPS for pair in every(group))
EXAMPLES = [example for each in ALL.values() for example in each.examples]


@pytest.fixture
def run(app):
    return lambda *arguments: app.test_cli_runner().invoke(args=arguments)


@pytest.mark.parametrize("name", ALL)
def test_the_help_of_every_command_says_what_it_does_with_an_example(run, name):
    told = run(*name.split(), "--help")
    assert told.exit_code == 0
    assert len(ALL[name].help.split()) > 3
    assert f"{PROGRAM} {name}" in told.output
    assert "--json" in told.output
    assert EXIT_STATUS.split(".")[0] in told.output
    assert all(option.help for option in ALL[name].params if isinstance(option, click.Option)), name


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_can_be_typed_as_it_stands(example):
    words = shlex.split(example)
    name = " ".join(words[:2]) if " ".join(words[:2]) in ALL else words[0]
    context = ALL[name].make_context(name, words[len(name.split()) :])
    assert context.params


@pytest.mark.parametrize(
    ("schema", "helps", "without"),
    [
        (ChannelCreate, channels.NEW, set()),
        (ChannelUpdate, channels.CHANGED, set()),
        (ChannelQuery, channels.ASKED, set()),
        (LimitsIn, users.LIMITS, set()),
        (Page, users.PAGES, set()),
        (FeedQuery, sessions.FEED, set()),
    ],
)
def test_what_the_api_takes_the_command_line_takes(schema: type[Schema], helps, without):
    assert helps.keys() == schema().load_fields.keys() - without


LISTS = ["channel list", "session list", "event", "user list", "token list", "webhook list"]


@pytest.mark.parametrize("name", LISTS)
def test_an_empty_list_is_a_sentence_for_people_and_a_list_for_programs(run, name):
    assert run(*name.split()).output.strip().endswith(".")
    told = run(*name.split(), "--json")
    assert (told.exit_code, json.loads(told.stdout), told.stderr) == (0, [], "")


def test_a_refusal_is_one_sentence_on_stderr_with_exit_status_1(run):
    told = run("channel", "show", "ch_no", "--json")
    assert (told.exit_code, told.stdout) == (1, "")
    assert told.stderr == "Error: There is no channel 'ch_no'.\n"


def test_wrong_usage_is_exit_status_2(run):
    assert [
        run(*words).exit_code for words in (["channel", "show"], ["user", "set", "x", "--max-no", "1"])
    ] == [
        2,
        2,
    ]


@pytest.mark.sqlite
def test_a_database_that_is_held_by_somebody_else_is_a_sentence(run, config):
    other = peewee.sqlite3.connect(config.data_dir / "livestream.db", timeout=0.1)
    other.execute("BEGIN IMMEDIATE")
    told = run("channel", "create", "--name", "x")
    other.close()
    assert (told.exit_code, told.stdout) == (1, "")
    assert told.stderr == "Error: The database cannot be used now: database is locked. Nothing was changed.\n"


def test_a_place_that_cannot_be_written_is_a_sentence(run, config):
    told = run("backup", str(config.data_dir / "no/such/folder.tar"))
    assert (told.exit_code, "Traceback" in told.output, told.stdout) == (1, False, "")


def test_a_table_is_as_wide_as_what_is_in_it():
    text = table({"ID": "id", "NAME": "name"}, "None.")(
        [{"id": "a", "name": "x\ny"}, {"id": "bcd", "name": ""}]
    )
    assert text == "ID   NAME\na    x y\nbcd  -"
    assert table({"ID": "id"}, "None.")([]) == "None."


def test_a_sheet_says_values_as_people_do():
    assert sheet({"a": True, "long": None, "c": ["x", "y"], "d": {"n": 0, "none": None}}) == (
        "a     yes\nlong  -\nc     x, y\nd     n 0"
    )
    assert [word(value) for value in (False, [], {}, {"a": None}, 0, "")] == ["no", "-", "-", "-", "0", "-"]
    assert aligned([["a", "b"]]) == "a  b"


def test_the_readme_names_every_command():
    text = (PROJECT / "README.md").read_text()
    assert {group.name for group in commands.GROUPS if f"`{group.name}`" not in text} == set()

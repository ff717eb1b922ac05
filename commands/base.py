"""What every command has: examples in its help, --json, a connection, failures in one sentence with an exit status."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import wraps
from typing import Any

import click
import peewee
from marshmallow import ValidationError

from config import Config
from db import connection, utcnow
from errors import ApiError, flatten
from live.lifecycle import Lifecycle
from live.limits import Limits
from live.links import Links
from upkeep import opening
from wire import dump_json

PROGRAM = "flask --app app"
EXIT_STATUS = "0: done. 1: refused or failed, with the reason in one sentence on stderr. 2: wrong usage."
FAILED = 1


class Command(click.Command):
    """`examples` are what stands behind `flask --app app`, one a line."""

    def __init__(self, *args: Any, examples: str, **more: Any) -> None:
        super().__init__(*args, **more)
        self.examples = [line.strip() for line in examples.strip().splitlines()]

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Examples"):
            for example in self.examples:
                formatter.write(f"{'':{formatter.current_indent}}{PROGRAM} {example}\n")
        with formatter.section("Exit status"):
            formatter.write_text(EXIT_STATUS)


class Group(click.Group):
    """Commands of one subject. With no command given it prints its help, as click does, with exit status 2."""

    command_class = Command


Text = Callable[[Any], str]


def command(
    text: Text,
    *,
    fails: Callable[[Any], bool] = lambda result: False,
    within: Callable[[Config], AbstractContextManager[Any]] | None = None,
) -> Callable[[Callable[..., Any]], Callable[..., None]]:
    """A command returns what --json prints, one document and nothing else on stdout; `text` makes of it what
    people read. `fails` tells a result that is a failure all the same: it is printed, and the exit status is 1.
    `within` is what it runs in: by default the installation ready for use, and a connection to its database."""

    def decorate(act: Callable[..., Any]) -> Callable[..., None]:
        @click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
        @wraps(act)
        def run(as_json: bool, **given: Any) -> None:
            with in_one_sentence(), (within or at_work)(settings()):
                result = act(**given)
            if shown := dump_json(result) if as_json else text(result):
                click.echo(shown)
            if fails(result):
                raise click.exceptions.Exit(FAILED)

        return run

    return decorate


@contextmanager
def at_work(config: Config) -> Iterator[None]:
    """The installation ready for use, as web and worker have it, whether they run or not."""
    with opening.at_hand(config, utcnow()), connection():
        yield


@contextmanager
def in_one_sentence() -> Iterator[None]:
    """Whatever an operator or a wrong value can cause is a sentence and exit status 1; a bug stays a traceback."""
    try:
        yield
    except opening.PROBLEMS as error:
        raise click.ClickException(str(error)) from error
    except ApiError as error:
        raise click.ClickException(error.msg) from error
    except ValidationError as error:
        wrong = flatten(error.normalized_messages())
        told = "; ".join(f"{name}: {reasons[0]}" for name, reasons in wrong.items())
        raise click.ClickException(told) from error
    except peewee.IntegrityError:
        raise
    except peewee.DatabaseError as error:
        raise click.ClickException(
            f"The database cannot be used now: {error}. Nothing was changed."
        ) from error
    except OSError as error:
        raise click.ClickException(f"{error.filename or 'DATA_DIR'}: {error.strerror or error}.") from error


def settings() -> Config:
    """Of the app whose command this is."""
    return _app().config["LIVESTREAM"]


def lifecycle() -> Lifecycle:
    return _app().extensions["livestream"].lifecycle


def limits() -> Limits:
    return _app().extensions["livestream"].limits


def links() -> Links:
    return _app().extensions["livestream"].links


def _app() -> Any:
    return click.get_current_context().find_root().obj.load_app()


def note(text: str) -> None:
    """For whoever reads along: on stderr, so that stdout stays what was asked for."""
    click.echo(text, err=True)


def note_more(shown: int, asked: dict[str, Any], total: int) -> None:
    """That a list goes on after this page."""
    if shown and asked["page"] * asked["length"] + shown < total:
        note(f"{shown} of {total}: --page {asked['page'] + 1} shows more.")

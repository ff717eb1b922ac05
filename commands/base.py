"""What every command has: a connection, failures in one sentence, JSON for programs."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import click
from marshmallow import ValidationError

from db import connection, utcnow
from errors import ApiError, flatten
from upkeep import opening
from upkeep.commands import settings

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


def command(act: Callable[..., None]) -> Callable[..., None]:
    """With a connection to the database, and with failures as one sentence and exit status 1."""

    @wraps(act)
    def run(**given: Any) -> None:
        try:
            with opening.at_hand(settings(), utcnow()), connection():
                act(**given)
        except opening.PROBLEMS as error:
            raise click.ClickException(str(error)) from error
        except ApiError as error:
            raise click.ClickException(error.msg) from error
        except ValidationError as error:
            wrong = flatten(error.normalized_messages())
            raise click.ClickException(
                "; ".join(f"{name}: {reasons[0]}" for name, reasons in wrong.items())
            ) from error

    return run

"""What a call takes and gives, said once beside its view: requests are read by it and /openapi.json is made of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps

from flask import Response, request

from errors import ApiError
from routes.parsing import body, query
from schemas import NoQuery
from wire import Wire

View = Callable[..., Response]
Given = type[Wire] | list[type[Wire]] | None


@dataclass(frozen=True)
class Call:
    """`gives` has a schema for each status of success: in a list for a list, None where nothing is shown."""

    takes: type[Wire]
    gives: Mapping[int, Given]
    fails: tuple[type[ApiError], ...]


def call(
    takes: type[Wire] = NoQuery, *, gives: Mapping[int, Given], fails: tuple[type[ApiError], ...] = ()
) -> Callable[[View], View]:
    """Read the request by `takes`, its query for GET and DELETE, else its body; the view gets it as `asked`.

    A view that takes nothing gets nothing, and what is sent all the same is refused by name. `fails` are the
    failures of this call alone; those that any call can have need no mention.
    """
    schema = takes()

    def decorate(view: View) -> View:
        @wraps(view)
        def run(**path: str) -> Response:
            read = query if request.method in ("GET", "HEAD", "DELETE") else body
            if takes is not NoQuery:
                return view(**path, asked=read(schema))
            if request.query_string or read is body:
                read(schema)
            return view(**path)

        run.call = Call(takes, gives, fails)
        return run

    return decorate

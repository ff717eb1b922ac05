"""What schemathesis has to be told of this API; tests/schemathesis.toml loads it."""

import json
from urllib.parse import urlencode

import schemathesis
from schemathesis import Case, CheckContext, HookContext, Response

FORM = "application/x-www-form-urlencoded"
# Fields with a rule that no schema tells: the future, an order of two values, addresses that are never called, a
# number of different items.
BEYOND_A_SCHEMA = {"startAt", "from", "to", "uri", "expiresAt", "tags", "minDuration"}
# A token with the role admin is bound to no account; an account has one user.
BEYOND_THERE = {"/v1/token": {"accountId"}, "/v1/user": {"id"}}
# The channel's state; a streamToken that is held; an Idempotency-Key that has another body.
OF_THE_MOMENT = {42201, 42202, 42203}


@schemathesis.check
def what_fits_the_schema_is_taken(ctx: CheckContext, response: Response, case: Case) -> None:
    """The stricter half of positive_data_acceptance: 422 only for what a schema cannot tell."""
    if case.meta is None or not case.meta.generation.mode.is_positive or response.status_code != 422:
        return
    told = response.json()
    names = BEYOND_A_SCHEMA | BEYOND_THERE.get(case.operation.path, set())
    beyond = told.get("errors") and told["errors"].keys() <= names
    assert told["ec"] in OF_THE_MOMENT or beyond, f"refused what fits the schema: {told}"


REMOVED: set[str] = set()


@schemathesis.hook
def after_call(context: HookContext, case: Case, response: Response) -> None:
    again = case.operation.path.startswith("/v1/user")  # an account can have a user again
    if case.method.upper() == "DELETE" and response.status_code == 204 and not again:
        REMOVED.add(f"{case.formatted_path}/")


@schemathesis.check
def what_was_removed_is_gone(ctx: CheckContext, response: Response, case: Case) -> None:
    if case.method.upper() == "GET" and response.status_code == 200:
        assert not [path for path in REMOVED if f"{case.formatted_path}/".startswith(path)]


@schemathesis.hook
def before_call(context: HookContext, case: Case, kwargs: dict) -> None:
    """A form carries an object as JSON text, as its `encoding` says; schemathesis would send its keys."""
    told = case.body if case.media_type == FORM and isinstance(case.body, dict) else {}
    if any(isinstance(value, dict) for value in told.values()):
        kwargs["data"] = urlencode(
            {name: value if isinstance(value, str) else json.dumps(value) for name, value in told.items()}
        )


@schemathesis.hook
def filter_query(context: HookContext, query: dict | None) -> bool:
    """A parameter whose value is an empty list is not sent at all, so nothing could be wrong with it."""
    return not query or all(value not in ([], {}) for value in query.values())

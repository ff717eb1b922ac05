"""API tokens from the command line: flask --app app token."""

from typing import Any

import click

from auth import create_token, revoke_token
from commands.base import Group, command
from commands.text import table
from db import utcnow
from models_access import Token
from schemas_admin import ROLES, TokenCreate, TokenOut, TokenSecretOut

COLUMNS = {
    "ID": "id",
    "ROLE": "role",
    "ACCOUNT": "accountId",
    "EXPIRES": "expiresAt",
    "LAST USED": "lastUsedAt",
    "NAME": "name",
}


@click.group(cls=Group)
def token() -> None:
    """API tokens: what app servers authenticate with."""


@token.command(
    "create",
    examples="""
        token create --role app --name Shop
        token create --role app --account school --expires-at 2030-01-01T00:00:00Z --json""",
)
@click.option("--role", type=click.Choice(ROLES), default="app", show_default=True, help="What it may do.")
@click.option(
    "--account", help="Bind it to this account: it makes, sees and changes that one's channels only."
)
@click.option("--expires-at", help="Like 2030-01-01T00:00:00Z; without it, it does not expire.")
@click.option("--name", default="", help="For you, to tell tokens apart.")
@command(lambda made: f"id      {made['id']}\nsecret  {made['secret']}")
def create(role: str, account: str | None, expires_at: str | None, name: str) -> dict[str, Any]:
    """Make a token and print its id and secret. The secret is shown this once.

    admin may do everything; app is for app servers: channels, webhooks, videos, search, feed; read may only read.
    """
    fields = {"role": role, "accountId": account, "expiresAt": expires_at, "name": name}
    made, secret = create_token(TokenCreate().load(fields), utcnow())
    return TokenSecretOut().dump(made.__data__ | {"secret": secret})


def listed(found: list[dict[str, Any]]) -> str:
    none = {"accountId": "all accounts", "expiresAt": "does not expire", "lastUsedAt": "never"}
    rows = [each | {name: each[name] or word for name, word in none.items()} for each in found]
    return table(COLUMNS, "There is no token but the root token of the settings.")(rows)


@token.command("list", examples="token list --json")
@command(listed)
def list_tokens() -> list[dict[str, Any]]:
    """Print every token, without its secret."""
    return TokenOut(many=True).dump(Token.select().order_by(Token.pk))


@token.command("revoke", examples="token revoke tok_30894e0cef2c3c2c9b40")
@click.argument("token_id", metavar="TOKEN")
@command(lambda gone: f"{gone['id']} is revoked.")
def revoke(token_id: str) -> dict[str, Any]:
    """Refuse a token from now on."""
    revoke_token(token_id, utcnow())
    return {"id": token_id, "revoked": True}

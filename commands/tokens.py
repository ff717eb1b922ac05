"""API tokens from the command line: flask --app app token."""

import json

import click

from auth import create_token, revoke_token
from commands.base import as_json, command
from db import utcnow
from models import Token
from schemas_admin import ROLES, TokenCreate, TokenOut, TokenSecretOut


@click.group()
def token() -> None:
    """API tokens: what app servers authenticate with."""


@token.command("create")
@click.option("--role", type=click.Choice(ROLES), default="app", show_default=True, help="What it may do.")
@click.option(
    "--account", help="Bind it to this account: it makes, sees and changes that one's channels only."
)
@click.option("--expires-at", help="Like 2030-01-01T00:00:00Z; without it, it does not expire.")
@click.option("--name", default="", help="For you, to tell tokens apart.")
@as_json
@command
def create(role: str, account: str | None, expires_at: str | None, name: str, as_json: bool) -> None:
    """Make a token and print its id and secret. The secret is shown this once."""
    fields = {"role": role, "accountId": account, "expiresAt": expires_at, "name": name}
    made, secret = create_token(TokenCreate().load(fields), utcnow())
    shown = TokenSecretOut().dump(made.__data__ | {"secret": secret})
    click.echo(json.dumps(shown) if as_json else f"id      {made.id}\nsecret  {secret}")


@token.command("list")
@as_json
@command
def list_tokens(as_json: bool) -> None:
    """Print every token, without its secret."""
    found = TokenOut(many=True).dump(Token.select().order_by(Token.pk))
    if as_json:
        click.echo(json.dumps(found))
        return
    for each in found:
        until = f"until {each['expiresAt']}" if each["expiresAt"] else "does not expire"
        account = each["accountId"] or "all accounts"
        used = each["lastUsedAt"] or "never"
        click.echo(f"{each['id']}  {each['role']:5}  {account}  {until}  last used {used}  {each['name']}")


@token.command("revoke")
@click.argument("token_id")
@command
def revoke(token_id: str) -> None:
    """Refuse a token from now on."""
    revoke_token(token_id, utcnow())
    click.echo(f"{token_id} is revoked.")

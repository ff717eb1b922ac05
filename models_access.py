"""The tables of who may do what, and who did: tokens, accounts, kept answers, the audit log."""

from typing import Any, Self

from peewee import AutoField, CharField, TextField

from db import JsonField, UtcField
from row import Row


class Token(Row):
    """API credentials. The secret is kept only as its SHA-256: it is random, so a slow hash adds nothing."""

    pk = AutoField()
    id = CharField(unique=True)
    secret_sha256 = CharField()
    role = CharField()
    account_id = CharField(null=True)
    name = TextField(default="")
    created_at = UtcField()
    expires_at = UtcField(null=True)
    last_used_at = UtcField(null=True)  # within a minute

    @classmethod
    def named(cls, token_id: str) -> Self | None:
        return cls.one("id = ?", token_id)


class User(Row):
    """What an account may use. An account without a row has the configuration's limits."""

    pk = AutoField()
    account_id = CharField(unique=True)
    name = TextField(default="")
    limits = JsonField()  # by name; null is no limit
    created_at = UtcField()
    updated_at = UtcField()

    @classmethod
    def named(cls, account_id: str) -> Self | None:
        return cls.one("account_id = ?", account_id)


class KeptAnswer(Row):
    """The answer to a create that had an Idempotency-Key, for whoever sends it again."""

    pk = AutoField()
    token_id = CharField()
    key = CharField()
    fingerprint = CharField()  # of what was asked: the same key with something else is a mistake
    location = CharField()
    body = TextField()
    created_at = UtcField(index=True)

    class Meta:
        table_name = "kept_answer"


class AuditEntry(Row):
    """Which API token did what, when and from where."""

    pk = AutoField()
    time = UtcField(index=True)
    token_id = CharField()
    account_id = CharField(null=True)  # whose thing it was
    action = CharField()
    kind = CharField()
    target = CharField()
    client_ip = CharField()
    request_id = CharField()

    class Meta:
        table_name = "audit"


KeptAnswer.add_index(KeptAnswer.token_id, KeptAnswer.key, unique=True, name="kept_answer_once")

ACCESS_TABLES: list[type[Any]] = [Token, User, KeptAnswer, AuditEntry]

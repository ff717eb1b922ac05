"""What every failure on the wire looks like (contract, section 1)."""

from werkzeug.test import TestResponse


def refused(reply: TestResponse, status: int, ec: int) -> dict:
    """The body of a failure, once it is seen to be one."""
    assert reply.status_code == status, reply.text
    assert reply.content_type == "application/json"
    assert reply.json["ec"] == ec
    assert reply.json.keys() <= {"ec", "msg", "errors"}
    assert len(reply.json["msg"]) > 10
    assert reply.headers["X-Request-Id"]
    return reply.json


def wrong(reply: TestResponse, status: int = 422, ec: int = 42200) -> set[str]:
    """The names of the fields that a failure finds wrong."""
    errors = refused(reply, status, ec)["errors"]
    assert all(reasons and all(isinstance(reason, str) for reason in reasons) for reasons in errors.values())
    return set(errors)

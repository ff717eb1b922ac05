"""flask --app app user: limits of accounts."""

import json

import pytest


@pytest.fixture
def ask(app):
    def asked(*arguments):
        told = app.test_cli_runner().invoke(args=["user", *arguments, "--json"])
        assert told.exit_code == 0, told.output
        return json.loads(told.stdout)

    return asked


def test_limits_are_set_one_by_one_and_taken_away_with_none(ask, client):
    assert ask("set", "school", "--max-live", "5", "--max-storage", "100")["limits"]["maxLive"] == 5
    changed = ask("set", "school", "--max-live", "none", "--name", "The school")
    assert (changed["limits"]["maxLive"], changed["limits"]["maxStorage"]) == (None, 100)
    assert client.get("/v1/user/school").json["data"] == changed == ask("show", "school")
    assert ask("list") == [changed]


def test_an_account_that_is_reset_has_the_limits_of_the_settings(app, ask, client):
    ask("set", "school", "--max-live", "5")
    assert ask("reset", "school") == {"id": "school", "reset": True}
    assert ask("list") == []


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("show", "no"), 1, "There is no user 'no'."),
        (("reset", "no"), 1, "There is no user 'no'."),
        (("set", "a b", "--max-live", "1"), 1, "There is no account 'a b'."),
        (("set", "school", "--max-live", "many"), 1, "maxLive: Not a valid integer."),
        (("set", "school", "--max-live", "-1"), 1, "maxLive: Must be greater"),
        (("set",), 2, "Missing argument 'ACCOUNT'"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(app, arguments, code, said):
    told = app.test_cli_runner().invoke(args=["user", *arguments])
    assert (told.exit_code, told.stdout) == (code, "")
    assert said in told.stderr

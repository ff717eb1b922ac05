"""New secrets and old ones: who made the old one known to a receiver has a day to follow."""

from datetime import timedelta

from db import connection
from delivery import webhooks
from delivery.secretbox import SecretBox
from tests.outbox import T0, claim, happen, hook

HOUR = timedelta(hours=1)


def rotated(webhook, config, now):
    with connection():
        return webhooks.rotate(webhook, config, now)


def signing(webhook, config, now):
    """The secrets that sign a delivery at that time, the newest first."""
    happen(webhook, f"ch_{now.timestamp()}", now)
    return [SecretBox(config.keys_dir).decrypt(each) for each in claim(webhook, now, most=1)[0].secrets]


def test_a_second_rotation_within_a_day_does_not_silence_the_secret_that_receivers_know(config, app):
    """The answer to the first may have been lost: then nobody knows what it made."""
    webhook = hook(config)
    known = SecretBox(config.keys_dir).decrypt(webhook.secret)
    second = rotated(webhook, config, T0)
    third = rotated(webhook, config, T0 + HOUR)
    assert signing(webhook, config, T0 + 2 * HOUR) == [third, second, known]
    assert signing(webhook, config, T0 + 24.9 * HOUR) == [third, second, known]
    assert signing(webhook, config, T0 + 26 * HOUR) == [third]


def test_of_more_than_three_old_secrets_the_oldest_goes(config, app):
    webhook = hook(config)
    made = [rotated(webhook, config, T0 + number * HOUR) for number in range(5)]
    assert signing(webhook, config, T0 + 5 * HOUR) == made[::-1][:4]


def test_a_rotation_after_the_day_brings_no_old_one_back(config, app):
    webhook = hook(config)
    second = rotated(webhook, config, T0)
    third = rotated(webhook, config, T0 + 25 * HOUR)
    assert signing(webhook, config, T0 + 25 * HOUR) == [third, second]

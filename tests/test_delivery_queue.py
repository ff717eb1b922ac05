"""The order of deliveries, their leases and their schedule. Time is an argument: nothing here waits."""

from datetime import timedelta
from threading import Barrier, Thread

import pytest

from db import connection, database, utcnow
from delivery import queue, redelivery, schedule, webhooks
from delivery.mending import mend
from models import Attempt, Delivery
from tests.outbox import T0, again, answered, claim, happen, hook, tries

pytestmark = pytest.mark.usefixtures("app")
SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def record(job, outcome, now=T0, chance=0.5):
    with connection():
        queue.record([(job, outcome)], now, lambda: chance)


def fail_until_over(webhook, delivery, now=T0, status=500):
    """Fail every try at its time; returns the pauses between them."""
    pauses = []
    while again(delivery).status == "pending":
        due = again(delivery).next_at
        pauses.append(due - now)
        now = due
        (job,) = claim(webhook, now)
        record(job, answered(status, now), now)
    return pauses[1:]


def test_the_oldest_of_a_queue_goes_first_and_alone(config):
    webhook = hook(config)
    first, second, third = (happen(webhook) for _ in range(3))
    for expected in (first, second, third):
        (job,) = claim(webhook)
        assert job.pk == expected.pk
        assert claim(webhook) == []
        record(job, answered())
        assert again(expected).status == "delivered"
    assert claim(webhook) == []


def test_a_failing_delivery_holds_up_its_own_queue_only(config):
    one, other = hook(config), hook(config)
    stuck, behind = happen(one, "ch_a"), happen(one, "ch_a")
    beside, elsewhere = happen(one, "ch_b"), happen(other, "ch_a")
    jobs = claim(one)
    assert [job.pk for job in jobs] == [stuck.pk, beside.pk]
    record(jobs[0], answered(500))
    record(jobs[1], answered())
    assert [job.pk for job in claim(other)] == [elsewhere.pk]
    assert claim(one) == []
    (job,) = claim(one, T0 + 5 * SECOND)
    record(job, answered(now=T0 + 5 * SECOND), T0 + 5 * SECOND)
    assert [job.pk for job in claim(one, T0 + 5 * SECOND)] == [behind.pk]


def test_a_backlog_is_looked_past_once_and_sent_in_order(config):
    webhook = hook(config)
    rows = [happen(webhook, f"ch_{number % 3}") for number in range(30)]
    order = []
    while jobs := claim(webhook):
        order += [job.pk for job in jobs]
        for job in jobs:
            record(job, answered())
    for channel in range(3):
        mine = [row.pk for row in rows if row.queue == f"ch_{channel}"]
        assert [pk for pk in order if pk in mine] == mine
    assert len(order) == 30


def test_a_try_that_fails_is_repeated_by_the_schedule_and_then_given_up(config):
    webhook = hook(config)
    delivery = happen(webhook)
    pauses = fail_until_over(webhook, delivery)
    assert pauses[:5] == [5 * SECOND, 30 * SECOND, 2 * MINUTE, 10 * MINUTE, 30 * MINUTE]
    assert pauses[5:] == [HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR]
    assert again(delivery).status == "failed"
    assert again(delivery).next_at is None
    assert [each.number for each in tries(delivery)] == list(range(1, 11))


def test_after_one_is_given_up_the_next_in_the_queue_has_its_turn(config):
    webhook = hook(config)
    first, second = happen(webhook), happen(webhook)
    fail_until_over(webhook, first)
    assert [job.pk for job in claim(webhook, T0 + 2 * DAY)] == [second.pk]


@pytest.mark.parametrize("number", range(1, schedule.TRIES))
def test_the_pause_varies_by_a_tenth(number):
    pause = schedule.PAUSES[number - 1]
    assert schedule.next_at(number, T0, None, 0.0) == T0 + pause * 0.9
    assert schedule.next_at(number, T0, None, 1.0) == T0 + pause * 1.1


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [
        ("1", 30),
        ("0", 30),
        ("45", 45),
        ("9999999", 60),
        ("9" * 400, 60),
        ("Mon, 24 Nov 2025 10:00:50 GMT", 50),
        ("Mon, 24 Nov 2025 10:00:50 -0000", 50),
        ("Tue, 24 Nov 2020 10:00:00 GMT", 30),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 60),
        ("soon", 30),
        ("", 30),
        ("-5", 30),
        ("1.5", 30),
        ("Mon, 99 Nov 2025 10:00:50 GMT", 30),
    ],
)
def test_retry_after_counts_between_one_and_two_pauses(asked, seconds):
    chance = 0.0 if seconds in (45, 50, 60) else 0.5
    low, high = timedelta(seconds=seconds), timedelta(seconds=min(seconds * 1.1, 60))
    assert low <= schedule.next_at(2, T0, asked, chance) - T0 <= high


def test_a_receiver_that_is_gone_is_told_nothing_more(config):
    webhook = hook(config)
    gone, behind, elsewhere = happen(webhook), happen(webhook), happen(webhook, "ch_b")
    job, other = claim(webhook)
    record(job, answered(410))
    assert [again(row).status for row in (gone, behind, elsewhere)] == ["failed", "cancelled", "cancelled"]
    assert not again(webhook).active
    assert "410" in again(webhook).disabled_reason
    # What was in flight to it at that moment, and did arrive, is shown as what it is.
    record(other, answered(200))
    assert again(elsewhere).status == "delivered"
    assert claim(webhook, T0 + DAY) == []


def test_five_days_of_nothing_but_failures_turn_a_webhook_off(config):
    webhook = hook(config)
    now = T0
    while again(webhook).active:
        happen(webhook, now=now)
        last, now = now, now + 6 * HOUR
        for job in claim(webhook, now):
            record(job, answered(503, now), now)
    assert timedelta(days=5) <= last - T0 <= timedelta(days=5, hours=12)
    assert "five days" in again(webhook).disabled_reason
    with connection():
        assert not Delivery.select().where(Delivery.status == "pending").exists()


def test_one_success_starts_the_five_days_again(config):
    webhook = hook(config)
    happen(webhook)
    record(claim(webhook)[0], answered(500))
    assert again(webhook).failing_since == T0
    record(claim(webhook, T0 + MINUTE)[0], answered())
    assert again(webhook).failing_since is None
    happen(webhook, now=T0 + 6 * DAY)
    record(claim(webhook, T0 + 6 * DAY)[0], answered(500, T0 + 6 * DAY), T0 + 6 * DAY)
    assert again(webhook).active


def test_what_a_dead_worker_had_claimed_is_sent_again_after_the_lease(config):
    webhook = hook(config)
    delivery = happen(webhook)
    (lost,) = claim(webhook)
    assert claim(webhook, T0 + 59 * SECOND) == []
    (job,) = claim(webhook, T0 + 60 * SECOND)
    assert (job.pk, job.number, job.message_id) == (lost.pk, 2, lost.message_id)
    record(job, answered(now=T0 + 61 * SECOND), T0 + 61 * SECOND)
    interrupted, delivered = tries(delivery)
    assert interrupted.error.startswith("interrupted")
    assert interrupted.time == T0
    assert delivered.status_code == 200


def test_a_late_result_of_a_lost_lease_does_not_undo_the_newer_try(config):
    webhook = hook(config)
    delivery = happen(webhook)
    (late,) = claim(webhook)
    (job,) = claim(webhook, T0 + MINUTE)
    record(late, answered(500), T0 + MINUTE)
    assert again(delivery).lease_until == T0 + 2 * MINUTE
    record(job, answered(), T0 + MINUTE)
    assert again(delivery).status == "delivered"
    assert [each.status_code for each in tries(delivery)] == [500, 200]


def test_a_delivery_that_takes_down_every_worker_is_given_up(config):
    webhook = hook(config)
    poison, behind = happen(webhook), happen(webhook)
    now = T0
    for _ in range(schedule.TRIES):
        (job,) = claim(webhook, now)
        assert job.pk == poison.pk
        now += MINUTE
    assert claim(webhook, now) == []
    assert again(poison).status == "failed"
    assert len(tries(poison)) == schedule.TRIES
    assert [job.pk for job in claim(webhook, now)] == [behind.pk]


def test_a_jump_of_the_clock_does_not_send_twice_what_is_in_flight(config):
    webhook = hook(config)
    happen(webhook)
    (job,) = claim(webhook)
    with connection():
        assert queue.claim({webhook.id: 8}, T0 + DAY, [job.pk]).jobs == []


def test_two_workers_never_get_the_same_delivery(config):
    webhook = hook(config)
    rows = [happen(webhook, f"ch_{number}") for number in range(120)]
    together, got = Barrier(4), []

    def work():
        together.wait()
        with database.connection_context():
            while jobs := queue.claim({webhook.id: 3}, T0).jobs:
                got.extend(job.pk for job in jobs)

    threads = [Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == [row.pk for row in rows]


def test_one_kibibyte_of_the_answer_is_kept(config):
    webhook = hook(config)
    delivery = happen(webhook)
    record(claim(webhook)[0], answered(500, answer=b"x" * 2000))
    assert bytes(tries(delivery)[0].answer) == b"x" * 1024


def test_what_a_stopping_worker_gives_back_is_due_at_once(config):
    webhook = hook(config)
    delivery = happen(webhook)
    (job,) = claim(webhook)
    with connection():
        queue.release([(job, T0)], T0 + SECOND)
    assert [each.error[:11] for each in tries(delivery)] == ["interrupted"]
    assert [job.number for job in claim(webhook, T0 + SECOND)] == [2]


def test_a_queue_that_waits_for_nothing_is_mended(config):
    webhook = hook(config)
    stuck, behind = happen(webhook), happen(webhook)
    with connection():
        Delivery.update(next_at=None).execute()
        assert queue.fronts() == []
        assert mend(T0) == 1
        assert mend(T0) == 0
    assert (again(stuck).next_at, again(behind).next_at) == (T0, None)


def test_a_clock_that_is_put_back_leaves_nothing_in_a_far_future(config):
    webhook = hook(config)
    new, failed, claimed = happen(webhook, "ch_a"), happen(webhook, "ch_b"), happen(webhook, "ch_c")
    jobs = {job.pk: job for job in claim(webhook)}
    with connection():
        queue.record([(jobs[failed.pk], answered(500))], T0, lambda: 0.5)
        queue.release([(jobs[new.pk], T0)], T0)
        Delivery.update(attempts=0).where(Delivery.pk == new.pk).execute()
        earlier = T0 - 3600 * SECOND
        assert mend(T0) == 0
        assert mend(earlier) == 3
    assert {again(each).next_at for each in (new, failed, claimed)} == {earlier}


def test_a_redelivery_waits_for_nothing_and_holds_up_nothing(config):
    webhook = hook(config)
    stuck, behind = happen(webhook), happen(webhook)
    record(claim(webhook)[0], answered(500))
    with connection():
        once_more = redelivery.redeliver(stuck, T0)
        ping = redelivery.test(webhook, T0)
    jobs = claim(webhook)
    assert [job.pk for job in jobs] == [once_more.pk, ping.pk]
    assert jobs[0].message_id == claim(webhook, T0 + 5 * SECOND)[0].message_id
    assert again(behind).attempts == 0


@pytest.mark.sqlite
def test_a_claim_reads_an_index_and_not_the_backlog(config):
    webhook = hook(config)
    happen(webhook)
    with connection():
        seen = []
        database.obj.connection().set_trace_callback(seen.append)
        queue.fronts()
        queue.claim({webhook.id: 8}, T0)
        database.obj.connection().set_trace_callback(None)
        reads = [sql for sql in seen if sql.lstrip().startswith("SELECT")]
        plans = [str(database.execute_sql("EXPLAIN QUERY PLAN " + sql).fetchall()) for sql in reads]
    assert len(plans) == 2
    assert all("USING COVERING INDEX delivery_due" in plan for plan in plans)
    assert "COVERING INDEX delivery_pending (webhook_id=? AND queue=? AND pk<?)" in plans[1]
    assert not any(
        f"SCAN {table}" in plan for plan in plans for table in ("d'", "first", "older", "delivery")
    )


def test_deliveries_of_a_removed_webhook_are_cancelled_and_kept_with_their_event(config):
    webhook = hook(config)
    delivery = happen(webhook)
    record(claim(webhook)[0], answered(500))
    with connection():
        webhooks.remove(webhook, utcnow())
    assert again(delivery).status == "cancelled"
    with connection():
        again(delivery).event.delete_instance()
        assert not Delivery.select().exists()
        assert not Attempt.select().exists()

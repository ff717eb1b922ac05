"""What is sent is signed by the Standard Webhooks specification; its own library is the judge."""

import base64
import re
import stat
from datetime import UTC, datetime
from threading import Barrier, Thread

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from delivery import signature
from delivery.secretbox import SecretBox, SecretLostError

BODY = '{"event":"channel_live","name":"Đà Nẵng"}'.encode()


def signed(*keys: str, body: bytes = BODY) -> dict[str, str]:
    return signature.headers("msg_7_wh_1", int(datetime.now(UTC).timestamp()), body, keys)


def test_a_secret_is_24_to_64_random_bytes_in_the_specified_format():
    secret = signature.new_secret()
    assert re.fullmatch(r"whsec_[A-Za-z0-9+/]+={0,2}", secret)
    assert 24 <= len(base64.b64decode(secret.removeprefix("whsec_"))) <= 64
    assert signature.new_secret() != secret


def test_the_standard_library_accepts_the_signature():
    secret = signature.new_secret()
    assert Webhook(secret).verify(BODY, signed(secret))["event"] == "channel_live"


def test_while_a_secret_is_replaced_both_verify():
    new, old = signature.new_secret(), signature.new_secret()
    headers = signed(new, old)
    assert Webhook(new).verify(BODY, headers)
    assert Webhook(old).verify(BODY, headers)
    assert len(headers["webhook-signature"].split(" ")) == 2


def test_another_body_another_id_and_another_secret_do_not_verify():
    secret = signature.new_secret()
    headers = signed(secret)
    for key, body, sent in (
        (secret, BODY + b" ", headers),
        (secret, BODY, headers | {"webhook-id": "msg_8_wh_1"}),
        (signature.new_secret(), BODY, headers),
    ):
        with pytest.raises(WebhookVerificationError):
            Webhook(key).verify(body, sent)


def test_the_id_is_made_of_event_and_webhook_and_holds_no_dot():
    assert signature.message_id(7, "wh_1") == signature.message_id(7, "wh_1")
    assert len({signature.message_id(e, w) for e in (1, 2) for w in ("wh_1", "wh_2")}) == 4
    assert "." not in signature.message_id(7, "wh_1")


def test_a_secret_is_kept_encrypted_under_a_key_file_of_the_owner_only(tmp_path):
    box = SecretBox(tmp_path / "keys")
    secret = signature.new_secret()
    kept = box.encrypt(secret)
    assert secret not in kept
    assert SecretBox(tmp_path / "keys").decrypt(kept) == secret
    assert stat.S_IMODE(box.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(box.path.parent.stat().st_mode) == 0o700
    assert [path.name for path in box.path.parent.iterdir()] == ["webhook.key"]


def test_processes_that_start_together_agree_on_one_key(tmp_path):
    together, boxes = Barrier(8), []

    def open_box():
        together.wait()
        boxes.append(SecretBox(tmp_path))

    threads = [Thread(target=open_box) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kept = boxes[0].encrypt("whsec_x")
    assert [box.decrypt(kept) for box in boxes] == ["whsec_x"] * 8


def test_a_key_can_be_put_before_the_old_one_and_both_decrypt(tmp_path):
    box = SecretBox(tmp_path)
    kept = box.encrypt("whsec_x")
    newer = SecretBox(tmp_path / "other").path.read_text()
    box.path.write_text(newer + box.path.read_text())
    assert SecretBox(tmp_path).decrypt(kept) == "whsec_x"


def test_a_lost_key_says_what_to_do(tmp_path):
    kept = SecretBox(tmp_path / "a").encrypt("whsec_x")
    with pytest.raises(SecretLostError, match="make a new secret"):
        SecretBox(tmp_path / "b").decrypt(kept)

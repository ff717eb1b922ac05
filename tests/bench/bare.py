"""The peer of `script/bench api` and `hooks`: a bare Flask under waitress that runs the same SQL on the same tables.

No validation, no envelope, no event, no token check beyond the look-up: what is left when all that this product
does with a request is taken away.
"""

import json
import sys
import threading
from urllib.parse import parse_qsl

import waitress
from flask import Flask, jsonify, request
from peewee import sqlite3

from db import utcnow
from db_sqlite import PRAGMAS
from live.text import folded
from models import Channel, new_id, new_stream_token
from row import shape_of

app = Flask(__name__)
app.json.sort_keys = False
local = threading.local()
turn = threading.Lock()  # of who writes; SQLite by itself has those who wait sleep for longer and longer

TOKEN = "SELECT * FROM token WHERE id = ?"
OPEN_SESSION = "SELECT * FROM session WHERE channel_id = ? AND stop_time IS NULL"
HOLDER = "SELECT * FROM channel WHERE stream_token = ? ORDER BY status = 'ended', pk DESC LIMIT 1"
USER = "SELECT * FROM user WHERE account_id = ?"
PAGE = "SELECT pk, listed_at FROM channel ORDER BY listed_at DESC, pk DESC LIMIT 10 OFFSET 0"
INSERT = shape_of(Channel).insert
NEW = dict.fromkeys(column.column for column in shape_of(Channel).added)
NEW |= {
    "description": "",
    "account_id": "1",
    "tags": "[]",
    "mode": "normal",
    "catchup": 1,
    "record": 0,
    "dvr": 0,
}
NEW |= {"thumbnail": 0, "thumb_width": 400, "thumb_height": 400, "thumb_interval": 10, "expire": 86400}
NEW |= {
    "transcode_profile": "[]",
    "stop_timeout": 600,
    "playback": "public",
    "metadata": "{}",
    "status": "init",
}
NEW |= {"sent_ms": 0, "seq": 0, "kept": "{}"}
TEXT = "INSERT INTO channel_text (rowid, name, tags, description) VALUES (?, ?, ?, ?)"
NAME = "INSERT INTO channel_name (rowid, name) VALUES (?, ?)"
NOTE = "INSERT INTO timeline (channel_id, time, kind, detail) VALUES (?, ?, 'created', '{}')"
AUDIT = (
    "INSERT INTO audit (time, token_id, account_id, action, kind, target, client_ip, request_id) "
    "VALUES (?, ?, '1', 'create', 'channel', ?, ?, '')"
)


def connection() -> sqlite3.Connection:
    if not hasattr(local, "connection"):
        local.connection = sqlite3.connect(sys.argv[2], isolation_level=None)
        local.connection.row_factory = sqlite3.Row
        for name, value in PRAGMAS.items():
            local.connection.execute(f"PRAGMA {name} = {value}")
    return local.connection


def token(db: sqlite3.Connection) -> sqlite3.Row:
    return db.execute(TOKEN, (request.authorization.username,)).fetchone()


@app.get("/v1/live/<channel_id>")
def read(channel_id: str):
    db = connection()
    token(db)
    row = db.execute("SELECT * FROM channel WHERE id = ?", (channel_id,)).fetchone()
    db.execute(OPEN_SESSION, (row["pk"],)).fetchone()
    return jsonify(dict(row))


@app.get("/v1/live")
def read_list():
    db = connection()
    token(db)
    rows = db.execute(PAGE).fetchall()
    total = db.execute(COUNT).fetchone()[0]
    marks = ", ".join("?" * len(rows))
    mine = f"SELECT * FROM session WHERE channel_id IN ({marks}) AND stop_time IS NULL"
    db.execute(mine, [row["pk"] for row in rows]).fetchall()
    return jsonify({"data": [dict(row) for row in rows], "total": total})


SESSION = (
    "INSERT INTO session (id, channel_id, connection, client_ip, encoder, start_time, last_byte_at, silent_ms, "
    "bytes_in, video, audio) VALUES (?, ?, ?, ?, '', ?, ?, 0, 0, '{}', '{}')"
)
NOTED = "INSERT INTO timeline (channel_id, time, kind, detail) VALUES (?, ?, 'published', '{}')"
REFUSED = "INSERT INTO timeline (channel_id, time, kind, detail) VALUES (?, ?, 'refused', '{}')"
EVENT = (
    "INSERT INTO event (name, time, channel_id, account_id, seq, session_id, payload) "
    "VALUES ('channel_connected', ?, ?, ?, 1, ?, '') RETURNING id"
)
COUNT = "SELECT COALESCE(SUM(n), 0) FROM channel_count WHERE account_id = '' AND tag = ''"


@app.post("/v1/live")
def create():
    db, asked, now = connection(), json.loads(request.data), int(utcnow().timestamp() * 1000)
    token_id, channel_id, stream_token = token(db)["id"], new_id("ch"), new_stream_token()
    name = asked["name"]
    with turn:
        return jsonify(created(db, name, token_id, channel_id, stream_token, now)), 201


def created(db, name, token_id, channel_id, stream_token, now):
    db.execute("BEGIN IMMEDIATE")
    db.execute(HOLDER, (stream_token,)).fetchone()
    db.execute(USER, ("1",)).fetchone()
    values = NEW | {"id": channel_id, "name": name, "name_folded": folded(name), "stream_token": stream_token}
    values |= {"created_at": now, "updated_at": now, "listed_at": now, "due_at": now + 86_400_000}
    [(pk,)] = db.execute(INSERT, list(values.values())).fetchall()
    db.execute(TEXT, (pk, folded(name), "", ""))
    db.execute(NAME, (pk, folded(name)))
    db.execute(NOTE, (pk, now))
    db.execute(AUDIT, (now, token_id, channel_id, request.remote_addr))
    db.execute("COMMIT")
    return {"id": channel_id, "streamToken": stream_token}


@app.post("/hooks/<kind>/<secret>")
def hook(kind: str, secret: str):
    db, told, now = (
        connection(),
        dict(parse_qsl(request.get_data().decode())),
        int(utcnow().timestamp() * 1000),
    )
    with turn:
        db.execute("BEGIN IMMEDIATE")
        name = published(db, told["name"], told["clientid"], told["addr"], now)
        db.execute("COMMIT")
    return ("", 302, {"Location": name}) if name else ("", 403)


def published(db, stream_token: str, client_id: str, address: str, now: int) -> str | None:
    channel = db.execute(HOLDER, (stream_token,)).fetchone()
    db.execute("SELECT * FROM session WHERE connection = ?", (client_id,)).fetchone()
    if (
        channel is None
        or channel["status"] == "ended"
        or db.execute(OPEN_SESSION, (channel["pk"],)).fetchone()
    ):
        db.execute("SELECT * FROM timeline WHERE channel_id IS NULL AND time > ? LIMIT 1", (now,)).fetchone()
        db.execute(REFUSED, (channel and channel["pk"], now))
        return None
    db.execute(USER, (channel["account_id"],)).fetchone()
    name = new_id("ses")
    db.execute(SESSION, (name, channel["pk"], client_id, address, now, now))
    db.execute(NOTED, (channel["pk"], now))
    payload = json.dumps(dict(channel))
    [(event,)] = db.execute(EVENT, (now, channel["id"], channel["account_id"], name)).fetchall()
    db.execute("UPDATE event SET payload = ? WHERE id = ?", (payload, event))
    db.execute("UPDATE channel SET published_at = ?, seq = seq + 1 WHERE pk = ?", (now, channel["pk"]))
    return name


if __name__ == "__main__":
    if len(sys.argv) > 3:
        doors = waitress.create_server(app, unix_socket=sys.argv[3], threads=8)
        threading.Thread(target=doors.run, daemon=True).start()
    waitress.serve(app, host="127.0.0.1", port=int(sys.argv[1]), threads=16)

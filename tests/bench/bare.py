"""The peer of `script/bench api`: a bare Flask under waitress that runs the same SQL on the same tables.

No validation, no envelope, no event, no token check beyond the look-up: what is left when all that this product
does with a request is taken away.
"""

import json
import sys
import threading

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

TOKEN = "SELECT * FROM token WHERE id = ?"
OPEN_SESSION = "SELECT * FROM session WHERE channel_id = ? AND stop_time IS NULL"
HOLDER = "SELECT * FROM channel WHERE stream_token = ? ORDER BY status = 'ended', pk DESC LIMIT 1"
USER = "SELECT * FROM user WHERE account_id = ?"
PAGE = "SELECT pk, listed_at FROM channel ORDER BY listed_at DESC, pk DESC LIMIT 10 OFFSET 0"
INSERT = shape_of(Channel).insert
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


COUNT = "SELECT COALESCE(SUM(n), 0) FROM channel_count WHERE account_id = '' AND tag = ''"


@app.post("/v1/live")
def create():
    db, asked, now = connection(), json.loads(request.data), int(utcnow().timestamp() * 1000)
    token_id, channel_id, stream_token = token(db)["id"], new_id("ch"), new_stream_token()
    name = asked["name"]
    db.execute("BEGIN IMMEDIATE")
    db.execute(HOLDER, (stream_token,)).fetchone()
    db.execute(USER, ("1",)).fetchone()
    values = [
        channel_id,
        name,
        folded(name),
        "",
        "1",
        "[]",
        "normal",
        1,
        0,
        0,
        0,
        400,
        400,
        10,
        86400,
        "[]",
        600,
    ]
    values += [stream_token, None, "public", "{}", "init", None, now, now, None, None, None, None, now]
    values += [now + 86_400_000, 0, 0]
    [(pk,)] = db.execute(INSERT, values).fetchall()
    db.execute(TEXT, (pk, folded(name), "", ""))
    db.execute(NAME, (pk, folded(name)))
    db.execute(NOTE, (pk, now))
    db.execute(AUDIT, (now, token_id, channel_id, request.remote_addr))
    db.execute("COMMIT")
    return jsonify({"id": channel_id, "streamToken": stream_token}), 201


if __name__ == "__main__":
    waitress.serve(app, host="127.0.0.1", port=int(sys.argv[1]), threads=16)

"""`script/bench tls`: processor time of nginx: a handshake with the certificate opened anew beside one that is loaded
once, what is played by HTTPS beside HTTP, a broadcast by RTMPS beside RTMP. Processor time, because the client of these
measures, in Python, takes more of the machine than nginx does."""

import http.client
import os
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psutil
from cryptography.hazmat.primitives.asymmetric import rsa

from config import nginx_program
from tests.bench.table import Row
from tests.box import FFMPEG, Box, free_ports, running_box
from tests.certificates import Authority, key_pem, made, pem
from tests.waiting import until

HANDSHAKES, REQUESTS, SECONDS = 400, 2000, 10
SESSION = "ses_00000000000000000000"
FILES = {"a playlist of 1 kB": ("source.m3u8", 1000), "a segment of 300 kB": (f"{SESSION}/0.ts", 300_000)}
SERVER = """
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {file};
        ssl_certificate_key {file};
        ssl_protocols TLSv1.2 TLSv1.3;
        return 200 "";
    }}"""


def rows(folder: Path, rounds: int) -> list[Row]:
    return [*handshakes(folder, rounds), *played(folder, rounds)]


def handshakes(folder: Path, rounds: int) -> Iterator[Row]:
    authority = Authority()
    signed = authority.signed()
    rsa_key = rsa.generate_private_key(65537, 2048)
    of_rsa = made("leaf", rsa_key.public_key(), "between", authority.between_key, names=("127.0.0.1",))
    kinds = {
        "ECDSA P-256": signed.chain + signed.key_pem,
        "RSA 2048": pem(of_rsa) + pem(authority.between) + key_pem(rsa_key),
    }
    for kind, text in kinds.items():
        file = folder / f"{kind[:3]}.pem"
        file.write_bytes(text)
        with two_servers(folder, file) as (worker, anew, once):
            taken: tuple[list[float], list[float]] = ([], [])
            for _ in range(rounds):
                for port, found in zip((anew, once), taken, strict=True):
                    found.append(cpu_ms(worker, partial(shake, port), HANDSHAKES))
        yield (
            f"CPU of a handshake, {kind}, certificate opened at each",
            *taken,
            "ms",
            "certificate loaded at start",
        )


@contextmanager
def two_servers(folder: Path, file: Path) -> Iterator[tuple[psutil.Process, int, int]]:
    """One nginx: its worker, the port that opens the file at each handshake, the port that has it loaded."""
    anew, once = free_ports(2)
    conf = folder / "bench.conf"
    servers = SERVER.format(port=anew, file="$certificate") + SERVER.format(port=once, file=file)
    paths = "\n".join(f"{each}_temp_path {folder}/{each};" for each in ("client_body", "proxy", "fastcgi"))
    paths += f"uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi; access_log off;"
    where = f"map $server_port $certificate {{ default {file}; }}"
    conf.write_text(
        f"{'user root;' if os.geteuid() == 0 else ''} daemon off; worker_processes 1; pid {folder}/bench.pid;\n"
        f"events {{}}\nhttp {{ {paths}\n{where}{servers}\n}}\n"
    )
    nginx = subprocess.Popen([nginx_program(), "-e", "stderr", "-p", str(folder), "-c", str(conf)])
    try:
        until(lambda: shake(once) is None, 10, "nginx answers")
        yield worker_of(nginx.pid), anew, once
    finally:
        nginx.terminate()
        nginx.wait(10)


def worker_of(master: int) -> psutil.Process:
    [worker] = psutil.Process(master).children()
    return worker


def shake(port: int) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port)) as plain, context.wrap_socket(plain):
        pass


def cpu_ms(process: psutil.Process, act: Callable[[], object], times: int) -> float:
    """Of one, in milliseconds."""
    before = sum(process.cpu_times()[:2])
    for _ in range(times):
        act()
    return (sum(process.cpu_times()[:2]) - before) / times * 1000


def played(folder: Path, rounds: int) -> Iterator[Row]:
    authority = Authority()
    cert, key, ca = (folder / name for name in ("cert.pem", "key.pem", "ca.pem"))
    authority.signed().write(cert, key)
    ca.write_bytes(pem(authority.root))
    for name in ("encrypted", "plain"):
        (folder / name).mkdir(mode=0o755)
    given = {"TLS_CERT": str(cert), "TLS_KEY": str(key)}
    with running_box(folder / "encrypted", ca, **given) as ours, running_box(folder / "plain") as peer:
        boxes = [(box, place(box)) for box in (ours, peer)]
        for name, (file, _) in FILES.items():
            taken: tuple[list[float], list[float]] = ([], [])
            for _ in range(rounds):
                for (box, base), found in zip(boxes, taken, strict=True):
                    found.append(asked(box, f"{base}/{file}"))
            yield f"CPU of {name}, HTTPS, connection kept", *taken, "ms", "HTTP"
        broadcast: tuple[list[float], list[float]] = ([], [])
        clip = recorded(folder)
        for _ in range(rounds):
            for tls, found in zip((True, False), broadcast, strict=True):
                found.append(published(ours, clip, tls=tls))
        yield "share of a core of a broadcast of 3 Mbit/s by RTMPS", *broadcast, "%", "RTMP, same box"


def place(box: Box) -> str:
    """A channel with files, though nobody has published."""
    path = f"/play/{box.create()['id']}"
    for file, size in FILES.values():
        target = box.data_dir / "media" / path.rpartition("/")[2] / file
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(b"#" * size)
    return path


def asked(box: Box, path: str) -> float:
    where = ("127.0.0.1", box.http_port)
    connection = (
        http.client.HTTPSConnection(*where, context=box.tls)
        if box.tls
        else http.client.HTTPConnection(*where)
    )

    def ask() -> None:
        connection.request("GET", path)
        reply = connection.getresponse()
        assert (reply.status, reply.read()[:1]) == (200, b"#")

    try:
        return cpu_ms(worker_of(box.pid("media")), ask, REQUESTS)
    finally:
        connection.close()


def recorded(folder: Path) -> Path:
    clip = folder / "clip.flv"
    argv = [
        FFMPEG,
        "-v",
        "error",
        "-f",
        "lavfi",
        "-i",
        f"testsrc2=size=1280x720:rate=30:duration={SECONDS + 4}",
    ]
    argv += ["-vf", "noise=alls=20:allf=t", "-c:v", "libx264", "-preset", "ultrafast", "-g", "30"]
    rate = ["-b:v", "3M", "-minrate", "3M", "-maxrate", "3M", "-bufsize", "3M", "-pix_fmt", "yuv420p"]
    subprocess.run([*argv, *rate, str(clip)], check=True)
    return clip


def published(box: Box, clip: Path, *, tls: bool) -> float:
    """In percent of a core, of nginx: taken in and written as segments."""
    made, worker = box.create(transcodeProfile="1080p"), worker_of(box.pid("media"))
    way = f"rtmps://127.0.0.1:{box.rtmps_port}" if tls else f"rtmp://127.0.0.1:{box.rtmp_port}"
    argv = [FFMPEG, "-v", "error", "-re", "-i", str(clip), "-c", "copy", "-f", "flv"]
    encoder = subprocess.Popen([*argv, f"{way}/live/{made['streamToken']}"], stdin=subprocess.DEVNULL)
    try:
        box.await_status(made["id"], "live")
        before = sum(worker.cpu_times()[:2])
        time.sleep(SECONDS)
        return (sum(worker.cpu_times()[:2]) - before) / SECONDS * 100
    finally:
        encoder.terminate()
        encoder.wait(10)
        box.call("DELETE", f"/v1/live/{made['id']}?delete=true")

"""Units that are other people's servers, whose processes and threads are theirs to make: every event is kept."""

import sys
from pathlib import Path

import pytest

from tests.support.scenarios import place_in

BIN = Path(sys.executable).parent

SITE = """
import urllib.request
import probe

KINDS = ["gevent", "gthread", "sync"]

def site(environ, start_response):
    key = environ["QUERY_STRING"]
    probe.receive("visit", key=key)
    start_response("200 OK", [])
    probe.emit("answered", key=key)
    return [b""]

def visitor():
    for kind in KINDS:
        port = probe.wait(f"web-{kind}: open").data["port"]
        for number in range(10):
            key = f"{kind}-{number}"
            probe.send("visit", key=key)
            urllib.request.urlopen(f"http://127.0.0.1:{port}/?{key}").read()
            probe.emit("served", key=key)
"""
SETTINGS = """
import os, probe

bind = "127.0.0.1:0"
workers = 2
worker_class = os.environ["CIRCUIT_UNIT"].removeprefix("web-")
preload_app = worker_class != "gthread"
loglevel = "error"

def when_ready(server):
    probe.ready("open", port=server.LISTENERS[0].sock.getsockname()[1])

def post_fork(server, worker):
    probe.emit("begins")

def worker_exit(server, worker):
    probe.emit("ends")
"""
SERVER = f"""
    [units.web-KIND]
    command = ["{BIN}/gunicorn", "-c", "settings.py", "units:site"]
    ready = "open"
"""
VISITOR = """
    [units.visitor]
    entrypoint = "units:visitor"
    after = ["web-gevent", "web-gthread", "web-sync"]

    [circuits.visit]
    path = ["visitor: visit", "web-*: visit", "web-*: answered", "visitor: served"]
    instances = 30
"""


def test_workers_of_gunicorn_keep_every_event(tmp_path: Path) -> None:
    servers = (SERVER.replace("KIND", kind) for kind in ("gevent", "gthread", "sync"))
    with place_in(tmp_path) as place:
        place.write("".join(servers) + VISITOR, SITE)
        (tmp_path / "settings.py").write_text(SETTINGS)
        run = place.run("run", "--plain", expect=0)
        assert run.findings() == []
        assert {name: unit["events"] for name, unit in run.units.items()} == {
            **dict.fromkeys(("web-gevent", "web-gthread", "web-sync"), 1 + 2 + 10 * 2 + 2),
            "visitor": 30 * 2,
        }


TASKS = """
import probe
from celery import Celery
from celery.signals import worker_ready

app = Celery("units", broker="memory://")

@app.task
def work(key):
    probe.receive("job", key=key)
    probe.emit("done", key=key)

@worker_ready.connect(weak=False)
def begin(**_):
    probe.ready("up")
    for number in range(10):
        probe.send("job", key=f"{number}")
        work.delay(f"{number}")

def client():
    for number in range(10):
        probe.wait("worker: done", key=f"{number}")
"""
WORKER = f"""
    [units.worker]
    command = ["{BIN}/celery", "-A", "units", "worker", "-P", "POOL", "-c", "2", "-l", "ERROR"]
    ready = "up"
    stop_timeout = "30s"

    [units.client]
    entrypoint = "units:client"
    after = ["worker"]

    [circuits.job]
    path = ["worker: done"]
    instances = 10
"""


@pytest.mark.parametrize("pool", ["gevent", "threads"])
def test_workers_of_celery_get_ready_and_keep_every_event(tmp_path: Path, pool: str) -> None:
    with place_in(tmp_path) as place:
        place.write(WORKER.replace("POOL", pool), TASKS)
        run = place.run("run", "--plain", expect=0)
        assert run.findings() == []
        assert run.units["worker"]["events"] == 1 + 10 * 3

"""A whole command on the same two-unit circuit: `circuit-run` and the older tool, process start to exit.

Both run the very same folder, written in the older shape, with the older tool's own import in the units.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.measure import Row, at_most

ROUNDS = 7
UNITS = """
from testrium.modules.events import Events_Manager


def target():
    events, everybody = Events_Manager(Unit="target", path="."), Events_Manager(Unit="*", path=".")
    events.Set_Event("target-ready")
    assert everybody.wait_for_event("command-sent", unit="source", timeout=5)
    events.Set_Event("command-received", event_type="Receive", event_key="request-001")
    events.Set_Event("endpoint-activated")


def source():
    events, everybody = Events_Manager(Unit="source", path="."), Events_Manager(Unit="*", path=".")
    events.Set_Event("source-ready")
    events.Set_Event("command-sent", event_type="Send", event_key="request-001")
    assert everybody.wait_for_event("endpoint-activated", unit="target", timeout=5)
    events.Set_Event("response-received")
"""
CONFIG = '["Configs"]\nunits = ["target", "source"]\ntimeout = 10\nenabled = true\n'
UNIT = """["{name}"]
init = {init}
enabled = true
entrypoint = "flow:{name}"
ready_event = "{name}-ready"
ready_timeout = 5
timeout = 10
use_setup = false
in-except = "Resume"
unit_dependencies = [{needs}]
events = [{events}]
"""


def rows() -> list[Row]:
    with tempfile.TemporaryDirectory() as home:
        write(Path(home) / "test_flow")
        scripts = Path(sys.executable).parent
        ours = [str(scripts / "circuit-run"), "test_flow", "--plain"]
        theirs = [str(scripts / "testrium"), "run"]
        best = {"ours": float("inf"), "theirs": float("inf")}
        for _ in range(ROUNDS):  # in turn, so that a busy machine slows both
            best["ours"] = min(best["ours"], wall_s(ours, home))
            best["theirs"] = min(best["theirs"], wall_s(theirs, home))
    return [at_most("two-unit scenario, whole command", best["ours"], best["theirs"], "s", 0.6)]


def write(folder: Path) -> None:
    """The circuit, in the legacy folder shape."""
    (folder / "units").mkdir(parents=True)
    (folder / "config.toml").write_text(CONFIG)
    (folder / "flow.py").write_text(UNITS)
    target = UNIT.format(
        name="target", init=0, needs="", events='"target-ready", "command-received", "endpoint-activated"'
    )
    source = UNIT.format(
        name="source", init=1, needs='"target"', events='"source-ready", "command-sent", "response-received"'
    )
    (folder / "units" / "target.toml").write_text(target)
    (folder / "units" / "source.toml").write_text(source)


def wall_s(argv: list[str], home: str) -> float:
    """Seconds from start to exit of a command that must succeed."""
    if not shutil.which(argv[0]):
        raise SystemExit(f"{argv[0]} is not installed; run: make bench")
    begin = time.perf_counter()
    done = subprocess.run(argv, cwd=home, capture_output=True, text=True)
    passed = time.perf_counter() - begin
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(argv)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return passed

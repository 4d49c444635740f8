"""`Events_Manager` for units of a legacy folder, in real units: what it sets, and what it reads."""

import json
from pathlib import Path

import pytest

from probe.event import Kind
from probe.testing import capture
from runner.adapters.usercode.shim.testrium.modules.events import Events_Manager
from runner.model.result.unit_status import State
from runner.model.scenario.model import Legacy, Unit
from tests.support.launch_stage import python, stage

CODE = """
import json, multiprocessing, os, subprocess, sys
from testrium.modules.events import Events_Manager
import testrium

def source():
    events = Events_Manager(Unit="source", path=".")
    events.Set_Event("source-ready")
    events.Set_Event("command-sent", event_type="Send", event_key="request-001", size=3, metadata={"ok": True})
    assert events.wait_for_event("response-received", unit="target", timeout=10)
    everything = Events_Manager(Unit="*")
    print(json.dumps({
        "own": [[e["StepCompleted"], e["EventType"], e["EventKey"], e["Metadata"]] for e in events.list_events()],
        "steps": sorted(everything.completed_steps()),
        "target": sorted(events.completed_steps("target")),
        "ids": [e["ID"] for e in everything.list_events()],
        "times": [e["Time"] for e in everything.list_events()],
        "columns": list(events.List_Events()),
        "never": events.wait_for_event("no-such-step", timeout=0.05),
        "file": os.path.basename(os.path.dirname(os.path.dirname(testrium.__file__))),
    }))

def target():
    events = Events_Manager(Unit="target", path="/nowhere/at/all")
    events.Set_Event("target-ready")
    assert events.wait_for_event("command-sent", unit="source")
    events.Set_Event("command-received", "Receive", event_key="request-001")
    events.Set_Event("trouble", event_type="Exception")
    child = multiprocessing.get_context("spawn").Process(target=in_a_child)
    child.start()
    child.join()
    subprocess.run([sys.executable, "-c", "import app; app.in_a_child()"], check=True)
    assert "child-did" in events.completed_steps()  # it has ended, so what it emitted is there
    events.Set_Event("response-received")

def in_a_child():
    Events_Manager(Unit="target").Set_Event("child-did")

def many():
    events = Events_Manager(Unit="many")
    for number in range(300):
        events.Set_Event("did", number=number)
        if number % 100 == 0:
            assert len(events.list_events()) == number + 1
    print(len(Events_Manager(Unit="*").list_events("many")))
"""


def test_units_talk_through_events_as_they_did_before(tmp_path: Path) -> None:
    units = (
        python("target", ready="target-ready", service=False),
        python("source", ready="source-ready", after=("target",), service=False),
        python("many", service=False),
    )
    with stage(tmp_path, *units, code=CODE, legacy=Legacy(linger_ns=20_000_000_000)) as s:
        end = s.play()
        assert {status.state for status in end.values()} == {State.FINISHED}, [s.err(name) for name in end]
        said = json.loads(s.out("source"))
        assert said["own"] == [
            ["source-ready", "Default", "", {}],
            ["command-sent", "Send", "request-001", {"ok": True, "size": 3}],
        ]
        steps = {"command-received", "trouble", "child-did", "response-received", "target-ready"}
        assert set(said["target"]) == steps
        assert steps | {"source-ready", "command-sent"} <= set(said["steps"])
        assert len(said["ids"]) == len(set(said["ids"]))
        assert said["times"] == sorted(said["times"])
        assert said["columns"] == ["ID", "Unit", "StepCompleted", "EventType", "EventKey", "Time", "Metadata"]
        assert (said["never"], said["file"]) == (False, "shim")
        assert s.out("many") == "300\n"
        kinds = {e.step: e.kind for e in s.events if e.unit in ("source", "target")}
        assert kinds["command-sent"] is Kind.SEND
        assert kinds["command-received"] is Kind.RECEIVE
        assert kinds["trouble"] is Kind.EXCEPTION


def test_commands_of_an_older_folder_find_it_too(tmp_path: Path) -> None:
    (tmp_path / "tool.py").write_text(
        "from testrium.modules.events import Events_Manager\nEvents_Manager(Unit='tool').Set_Event('tool-did')\n"
    )
    with stage(tmp_path, Unit("tool", command=("python", "tool.py"), expect=("tool-did",)), legacy=Legacy()) as s:
        s.play()
        assert s.steps("tool") == ["tool-did"]


def test_what_is_wrong_with_an_event_is_said_before_it_is_set() -> None:
    events = Events_Manager(Unit="a")
    with capture() as captured:
        with pytest.raises(ValueError, match=r"one unit, and this manager is for all of them"):
            Events_Manager(Unit="*").Set_Event("x")
        with pytest.raises(ValueError, match=r"'Sent'; expected one of: Default, Exception, Receive, Send"):
            events.Set_Event("x", event_type="Sent")
        with pytest.raises(ValueError, match="a Send needs event_key"):
            events.Set_Event("x", event_type="Send")
        with pytest.raises(ValueError, match="metadata is list; expected a dict"):
            events.Set_Event("x", metadata=[1])
        events.Set_Event("x", key="k", step_number=1)
    assert [(event.step, event.key, event.data) for event in captured] == [("x", None, {"key": "k", "step_number": 1})]


def test_without_a_broker_nothing_is_read_and_no_call_waits() -> None:
    events = Events_Manager(Unit="a")
    events.Set_Event("x")
    assert (events.list_events(), events.wait_for_event("x", timeout=30)) == ([], False)

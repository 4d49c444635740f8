"""A run folder that an earlier version of the code has written is judged as it was then."""

import json
import shutil
from pathlib import Path

from tests.support.scenarios import place_in

RECORDED = Path(__file__).parent / "recorded"


def test_a_run_that_earlier_code_has_recorded_has_the_same_findings_today(tmp_path: Path) -> None:
    then = json.loads((RECORDED / "broken-order-flow" / "result.json").read_text())
    with place_in(tmp_path) as place:
        kept = Path(shutil.copytree(RECORDED / "broken-order-flow", tmp_path / "broken-order-flow"))
        place.run("verify", kept, "--json", "again.json", expect=1)
        now = json.loads((tmp_path / "again.json").read_text())
    assert then["findings"], "else this says nothing"
    assert now["verdict"] == then["verdict"]
    assert now["findings"] == then["findings"]
    assert now["circuits"] == then["circuits"]
    assert now["evidence"] == then["evidence"]

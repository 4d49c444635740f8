"""What a user declares, from files to values.

`load` and `discover` find and read scenarios; `save` and `restore` keep one in a run folder, where it is `redacted`.
"""

from runner.model.scenario.find import discover as discover
from runner.model.scenario.find import load as load
from runner.model.scenario.find import override as override
from runner.model.scenario.hints import did_you_mean as did_you_mean
from runner.model.scenario.redaction import redacted as redacted
from runner.model.scenario.scenario_json import restore as restore
from runner.model.scenario.scenario_json import save as save

"""What a user declares, from files to values.

`load` and `discover` find and read scenarios; `save` and `restore` keep one in a run folder, where it is `redacted`.
"""

from runner.scenario.find import discover as discover
from runner.scenario.find import load as load
from runner.scenario.find import override as override
from runner.scenario.keep import restore as restore
from runner.scenario.keep import save as save
from runner.scenario.redaction import redacted as redacted
from runner.scenario.words import did_you_mean as did_you_mean

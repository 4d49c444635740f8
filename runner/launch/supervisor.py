"""`python -m runner.launch.supervisor`: the supervisor, by the name under which every release starts it over ssh.

Belongs here: nothing else. It is `runner/adapters/supervisor/supervisor`.
"""

import sys

import circuit_run

if __name__ == "__main__":  # over ssh: the installation there may be older than the desk's, or newer
    circuit_run.process(["runner.adapters.supervisor.supervisor", *sys.argv[1:]])

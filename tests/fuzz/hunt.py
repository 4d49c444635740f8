"""One target under atheris: the process that `python -m tests.fuzz` starts for each, and that tries one input again.

python -m tests.fuzz.hunt TARGET FOLDER [libFuzzer options]     goes on until its time is over
python -m tests.fuzz.hunt TARGET FILE                           runs that input once
"""

import sys

import atheris

with atheris.instrument_imports(include=["probe", "broker", "runner"]):
    from tests.fuzz.targets import TARGETS


def main(argv: list[str]) -> None:
    atheris.Setup([argv[0], *argv[2:]], TARGETS[argv[1]])
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv)

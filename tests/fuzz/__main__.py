"""`make fuzz`: every target for a minute, guided by coverage. Exit code 1 if one of them was broken.

    python -m tests.fuzz                        all targets, FUZZ_SECONDS (60) each, as many at once as there are cores
    python -m tests.fuzz message journal        only these

What broke a target is kept in tests/fuzz/found, where the tests try it again, and the command that runs it once is
printed. What else was interesting is kept in .fuzz, where the next hunt goes on from it.
"""

import hashlib
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.seeds import FOUND, ROOT, found, seeds
from tests.fuzz.targets import TARGETS

CORPUS = ROOT / ".fuzz"
TIMEOUT_S = 5
"""A reader that takes longer for one input of a few kilobytes is broken."""
MEMORY_MB = 1024
MAX_BYTES = 4096
MEMORY = "/dev/shm"
"""Where files cost least, if it is there."""
MAX_SAID = 4000


@dataclass(frozen=True)
class Hunted:
    """How one target did."""

    target: str
    inputs: int
    rate: int
    """Inputs a second."""
    branches: int
    """How many places of our code were reached, as the fuzzer counts them."""
    corpus: int
    broken: str
    """What went wrong, and how to see it again; "" if nothing did."""


def main(argv: list[str]) -> int:
    seconds = int(os.environ.get("FUZZ_SECONDS", "60"))
    if unknown := [name for name in argv if name not in TARGETS]:
        print(f"there is no target {unknown[0]!r}; there are: {' '.join(TARGETS)}", file=sys.stderr)
        return 2
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        hunted = list(pool.map(lambda target: hunt(target, seconds), argv or TARGETS))
    print(f"{'target':<16}{'inputs':>12}{'a second':>10}{'branches':>10}{'corpus':>8}")
    for each in hunted:
        broken = "  broken" if each.broken else ""
        print(f"{each.target:<16}{each.inputs:>12,}{each.rate:>10,}{each.branches:>10,}{each.corpus:>8,}{broken}")
    for each in hunted:
        if each.broken:
            print(f"\n--- {each.target}\n{each.broken}")
    return 1 if any(each.broken for each in hunted) else 0


def hunt(target: str, seconds: int) -> Hunted:
    """Look for what breaks `target`, for so long or until something does."""
    corpus = CORPUS / target
    corpus.mkdir(parents=True, exist_ok=True)
    for data in (*seeds(target), *(path.read_bytes() for path in found(target))):
        (corpus / hashlib.sha1(data).hexdigest()).write_bytes(data)
    with tempfile.TemporaryDirectory(
        prefix="circuit-fuzz-", dir=MEMORY if os.path.isdir(MEMORY) else None
    ) as temporary:
        options = [f"-max_total_time={seconds}", f"-timeout={TIMEOUT_S}", f"-rss_limit_mb={MEMORY_MB}"]
        options += [f"-max_len={MAX_BYTES}", f"-artifact_prefix={temporary}{os.sep}found-", "-print_final_stats=1"]
        done = subprocess.run(
            [sys.executable, "-m", "tests.fuzz.hunt", target, corpus, *options],
            cwd=ROOT,
            env=os.environ | {"TMPDIR": temporary},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        said = done.stdout[-MAX_SAID:]
        broken = said[max(said.find(" === "), 0) :] if done.returncode else ""
        for path in Path(temporary).glob("found-*"):
            kept = FOUND / target / path.name.removeprefix("found-")
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_bytes(path.read_bytes())
            broken += f"\nAgain: {sys.executable} -m tests.fuzz.hunt {target} {kept.relative_to(ROOT)}"
    inputs, rate = (
        _last(rf"stat::{name}: +(\d+)", done.stdout) for name in ("number_of_executed_units", "average_exec_per_sec")
    )
    return Hunted(target, inputs, rate, _last(r" cov: (\d+)", done.stdout), len(list(corpus.iterdir())), broken)


def _last(pattern: str, text: str) -> int:
    """The number that stands where the pattern fits last; 0 where it never does."""
    return int((re.findall(pattern, text) or [0])[-1])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""What `make fuzz` tries holds for its examples, for all that once broke a reader, and for damaged examples."""

import random

import pytest

from tests.fuzz.seeds import found, seeds
from tests.fuzz.targets import TARGETS

DAMAGED = 60
"""Damaged examples for each target: enough to notice at once what a fuzzer would find in its first second."""


@pytest.mark.parametrize("target", TARGETS)
def test_a_reader_keeps_its_word_for_examples_whole_and_damaged(target: str) -> None:
    examples = seeds(target)
    assert examples
    for example in (b"", *examples, *(path.read_bytes() for path in found(target))):
        TARGETS[target](example)
    chance = random.Random(target)
    for _ in range(DAMAGED):
        example = bytearray(chance.choice(examples))
        for _ in range(chance.randint(1, 3)):
            place = chance.randrange(len(example) + 1)
            example[place : place + chance.randint(0, 4)] = chance.randbytes(chance.randint(0, 4))
        TARGETS[target](bytes(example))

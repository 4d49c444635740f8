"""The chaos campaign: real runs whose processes are killed at random, each held against what its units know.

plan       seed -> who is struck, when, and which fault is planted (pure)
units      what the units of the scenario do, and the tally that survives them
play       one run of a plan: start everything, strike, wait for the end
judge      tally, log and result in, faults out (pure)
report     many runs -> the table of docs/reliability.md (pure)
__main__   `python -m tests.chaos`, also `make chaos`
"""

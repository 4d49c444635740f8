"""Actors in the caller's own hands: threads, asyncio tasks and forked processes that can be held at checkpoints.

starter     what all have in common
threads, tasks, processes     one kind each
gate        which actor is held when a checkpoint is reached in this process
wrapping    checkpoints around callables, without touching their code
asleep      what a thread does that does not come to its next checkpoint
"""

"""A small disk of its own for one command, in a namespace of mounts that ends with it.

Belongs here: how to get one, and why there is none. What runs on it is for each test to say.
"""

import functools
import os
import subprocess

NAMESPACE = ("unshare", "--mount", "--propagation", "private")


@functools.cache
def why_not() -> str:
    if os.geteuid() != 0:
        return "a small disk is mounted here: needs root"
    try:
        words = [*NAMESPACE, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
        tried = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    except OSError as error:
        return f"a small disk is mounted here: needs unshare: {error}"
    return f"a small disk is mounted here: {tried.stderr.strip()}" if tried.returncode else ""

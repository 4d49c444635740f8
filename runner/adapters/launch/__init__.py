"""Starting, watching and ending units.

`lifecycle` decides (values in, values out), `local` knows what to start, `supervisor` is the process that starts it,
`bootstrap` and `callback` are what user code runs in, `older` is the surface of the tool this one carries on.
"""

"""The supervisor of a host, a process of its own: `supervisor` is its start, `loop` its work, `unit_process` one unit,
`journal_publisher` what its dead processes left.

On other hosts `work_dir` unpacks (`unpack`) what the runner ships, `output_forwarder` sends home what units write,
`lease` says how long the runner may be away, and `agent` waits for runs. Imported before the first unit starts: it
stays light.
"""

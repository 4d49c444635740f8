"""What remains of a run: `run_folder` is where it is kept, `log_file` its log, `lookup` finds first events in a log
that grows, `index` writes its result and its row among all runs.
"""

"""The runner's side of processes.

run_processes     everything that a run needs: broker, supervisors, folders (leased_process: one of them)
hosts             other hosts, over ssh; remote_access: how they reach us; external_broker: a broker that runs already
ownership         which names belong to which supervisor
callback          user code that the runner calls (legacy_functions: that of the legacy folder shape)
audit             what was left behind; last_words: what a process of ours said last
"""

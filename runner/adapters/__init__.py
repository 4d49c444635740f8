"""What touches the world: each folder one part of it.

bus          the broker's log -> entries, in order; orders -> the broker
launch       the runner's side of processes: broker, supervisors, hosts, user code; and the audit at the end
supervisor   runs on every host in a process of its own: starts, watches and ends units
usercode     runs inside the units and beside them: what calls the code of the user
actors       threads, tasks and processes of a test that are held at checkpoints
terminal     what people see while a run lives, and how it is printed
history      run folders and their index
doctor       questions to machines

process_tree, openssh, start_orders   what launch and supervisor share
files, signals, say                   what all share
"""

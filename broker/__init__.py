"""The process in the middle: takes what units say, keeps it, hands it to readers.

    errors      what can go wrong, as one tree
    files       how many connections there is room for
    endpoints   addresses: parsing them, preparing and clearing what they need on disk
    keyring     the folder that says whose keys the broker lets in
    access      who may come in and who may say what (pure)
    issued      keys that were made for one run
    incidents   who did what they may not, and how often (pure)
    ledger      per incarnation: next number, duplicates, gaps (pure)
    log         the append-only file: writing, cutting a torn tail, reading it back
    run         one run: its log, its ledger, its counters
    runs        all runs: which are open, which rest, which is the newest
    retention   old runs are removed
    connections which there are, with which key, which are cut
    peer        who has said HELLO, and what a reader may be sent
    peers       who is there, counted by run and by name
    readers     who is sent the log of its run, and how far
    admission   a HELLO becomes a peer, or a reason why not
    idle_agents agents that take part in no run and wait to be invited
    memory_guard which connections to cut when memory is short
    relay       what is sent to whom: one turn of the loop
    service     the process: ports, signals, lease, the loop itself

`python -m broker --listen ENDPOINT --folder DIR` starts one; `broker.service.serve` is the same as a function.
"""

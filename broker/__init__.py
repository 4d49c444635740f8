"""The process in the middle: takes what units say, keeps it, hands it to whoever reads.

    errors      what can go wrong, as one tree
    endpoints   addresses: parsing them, preparing and clearing what they need on disk
    access      who may come in and who may say what
    ledger      per incarnation: next number, duplicates, gaps (pure)
    log         the append-only file: writing, cutting a torn tail, reading it back
    run         one run: its log, its ledger, its counters
    relay       who is connected, and what is sent to whom: one turn of the loop
    service     the process: port, signals, lease, the loop itself

`python -m broker --listen ENDPOINT --folder DIR` starts one; `broker.service.serve` is the same as a function.
"""

"""`circuit-run`: starts the units of a scenario, lines them up, verifies what they say, keeps and shows it.

    cli        one file a command; errors -> exit codes
    session    one run from start to end; the only place where the parts below meet
    listen     the broker's log -> entries, in order; orders -> the broker
    launch     processes: broker, supervisor, units; when each may begin and what its end means
    lockstep   barriers and waits: who may go on
    verifier   events in, findings out
    view       what people see
    history    run folder, result, index, replay
    scenario   what the user declared, from files to values
    orders, signals, errors   what several of these share

Imports go downwards in this list, or along `runner -> broker -> probe`; the rules are contracts in pyproject.toml.
"""

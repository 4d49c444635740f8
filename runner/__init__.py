"""`circuit-run`: starts the units of a scenario, lines them up, verifies what they say, keeps and shows it.

    cli        one file a command; errors -> exit codes
    session    one run from start to end; the only place where the parts below meet
    adapters   sockets, processes, files and screens
    core       what is decided: values in, values out
    model      the nouns: what a user declared, what came of it, orders, errors
    demo       the scenario of `circuit-run demo`
    launch     the name under which the supervisor is started over ssh, by every release

Imports go downwards in this list, or along `runner -> broker -> probe`; the rules are contracts in pyproject.toml.
"""

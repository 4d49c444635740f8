"""What calls the code of the user: `bootstrap` and `entry` inside a unit; `user_code_worker` beside it, for callbacks.

`shim` and `legacy_tester` are the surface of the tool that this one carries on.
"""

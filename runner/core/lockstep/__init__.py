"""Which units and actors may go on: barriers, waits and prescribed orders, decided from events, as values.

Must not know sockets, clocks or processes; the session hands in events and the time and sends the orders that come out.
"""

"""Which orders of checkpoints to try next, so that one that breaks is found after few.

    profile      what the actors of a run do, step by step, and which steps depend on each other
    equivalence  when two orders are the same to the system; the one of them with the fewest switches
    classes      one order of every class, by partial order reduction
    sampling     orders by chance, where there are too many classes
    search       which of them to run next, and what may be said at the end

An order is a sequence of actors: whose next step it is. Nothing here runs anything.
"""

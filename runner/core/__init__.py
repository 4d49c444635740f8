"""What is decided, without time, sockets, threads or processes; the parts do not know each other.

verifier    events in, findings out
lifecycle   when each unit may begin, and what its end means
lockstep    barriers, waits and prescribed orders: who may go on
exploration which order of checkpoints to try next
clocks      bounds that hosts report -> one timeline
report      a result in words and lines
doctor      facts about a machine -> findings
"""

"""What came of a run, as values.

result        the Result and its parts; result_json: to JSON and back
ranking       which finding comes first
unit_status   states of units; clocks: how exact times are
latency, quantiles, interval   distributions, and values with an error
in_words      keys and data in sentences
"""

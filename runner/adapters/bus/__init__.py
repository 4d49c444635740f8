"""The runner on the bus: `log_reader` gets the log of a run in order, `outbox` keeps orders until they are in it, and
`broker_clock` knows how far the broker's clock is from ours."""

"""Is a machine fit to take part in runs? `facts` in, findings out by `judge` and `refusal`; `adapters/doctor` asks."""

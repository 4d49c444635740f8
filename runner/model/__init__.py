"""The nouns that everything else shares. Belongs here: values, and reading and writing them. Must not decide anything.

scenario   what a user declares, from files to values
result     what came of a run: findings, latencies, states, result.json
"""

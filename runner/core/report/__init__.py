"""A result in words and lines: `summary` is the whole of it, `story` that of one key.

facts, reason, words, budgets   texts of single things
text                            spans, cutting, wrapping, tones; quantity: numbers in words
"""

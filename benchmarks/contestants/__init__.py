"""Ways to turn one folder of photographs into stored embeddings; each is a program of its own.

    python -m benchmarks.contestants.loop --photos DIR --weights FILE --out DIR

The last line of its output is a JSON object of `contestants.clock.Clocked`. All but `embedded` know nothing
of Pictor, and some run in an environment of their own.
"""

"""Side-by-side measurements, each beside a peer or a limit in the same run.

Never run by the tests: machines are shared, and a figure is read by a person.
"""

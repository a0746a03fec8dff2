"""What the model wrote: parsed from the stream, placed in the file, shown as hunks, checked and applied.

Never talks to an engine, never reads the index, and never guesses a place.
"""

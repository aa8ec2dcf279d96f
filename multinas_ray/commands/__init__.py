"""The verbs of the command line, with one file for each: `add_parser` describes a verb, `run` carries it out.

Heavy imports are inside `run`, so that `--help` answers at once.
"""

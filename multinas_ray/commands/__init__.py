"""The verbs of the command line, one file each: `add_parser` describes a verb, `run` carries it out.

Heavy imports stay inside `run`, so that `--help` answers at once.
"""

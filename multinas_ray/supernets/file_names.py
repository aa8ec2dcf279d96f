"""Names of files, for those that look after them without torch."""

SUPERNET_FILE = "supernet.pt"
"""The weights of the trained supernet, in the folder of a run."""

"""The experiments: scripts, the packages `compare` and `tabular`, and `parts`, which both of these use."""

"""The experiments: scripts, and three packages: `compare` and `tabular`, and what both of them use."""

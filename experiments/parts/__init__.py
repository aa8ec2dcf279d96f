"""What `compare` and `tabular` both use: exhaustively trained tables, kept rows, processes, pictures, command lines."""

"""Parts that several experiments use: exhaustively trained tables, stored rows, processes, pictures, command lines."""

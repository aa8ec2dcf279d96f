"""Ways to search exhaustively trained spaces, compared: methods, measures, searches and the report."""

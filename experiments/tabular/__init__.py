"""A comparison of ways to search exhaustively trained spaces: methods, measures, searches and the report."""

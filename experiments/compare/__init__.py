"""A comparison of ways to find K networks with one budget: settings, methods, pieces of work and the report."""

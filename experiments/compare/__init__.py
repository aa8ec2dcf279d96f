"""Ways to find K networks with one budget, compared: settings, methods, pieces of work and the report."""

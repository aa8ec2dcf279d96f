"""The parts of experiments/tabular.py: tables, methods, measures, runs and the report."""

"""Measures what the models do, on people they never saw."""

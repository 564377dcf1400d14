"""Measurements: ratios from one run on one machine, each against what cannot be avoided."""

"""Measurements: each module ends with one JSON object on its last line."""

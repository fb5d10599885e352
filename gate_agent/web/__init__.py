"""The box's own HTTP service."""

"""`gate-agent doctor`: everything a box stands on, looked at once: what is wrong, and what to do."""

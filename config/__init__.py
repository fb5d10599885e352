"""Settings and policies: what may be chosen, and the loader that explains every mistake at once."""

"""What every test shares: how Hypothesis looks for counterexamples."""

from __future__ import annotations

from hypothesis import settings

# A deadline per example would measure the machine's load, not the code; pytest-timeout bounds a whole test.
settings.register_profile("project", deadline=None, print_blob=True)
settings.load_profile("project")

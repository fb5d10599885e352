"""The centre's HTTP API and its console."""

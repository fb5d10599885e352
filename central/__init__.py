"""The reference central platform: issue, distribute, ingest, reconcile, show."""

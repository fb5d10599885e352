"""Reads codes: camera frames in, one `admission.scan.Scan` per showing out."""

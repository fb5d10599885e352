"""What admission means: codes, rights, decisions. Pure: no I/O, no clock, no event loop."""

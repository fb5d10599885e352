"""Reads files of tickets, refunds, groups and the rest: all mistakes at once, by row and field."""

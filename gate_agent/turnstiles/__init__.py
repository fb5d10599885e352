"""Turnstile drivers."""

"""The box's memory; the only package that knows SQL on the box."""

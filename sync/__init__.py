"""Talks to the centre and the neighbours; the only package of the box that knows MQTT."""

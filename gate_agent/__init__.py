"""The program on the box: one flow from scan to barrier, and the wiring around it."""

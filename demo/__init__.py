"""The whole gate on one machine, to be watched (`demo.run`) or put to the proof (`demo.smoke`)."""

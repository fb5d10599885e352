"""The world around the boxes: cameras, turnstiles, visitors and a cable that can be cut."""

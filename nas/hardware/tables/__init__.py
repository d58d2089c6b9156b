"""Tables of measurements, and the logs of other tools, read and checked."""

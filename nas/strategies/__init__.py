"""Ask/tell search strategies."""

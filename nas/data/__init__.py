"""Data sets, augmentation and training of networks."""

"""What is different between two catalogs, in plain words, and for whom it is better or worse."""

"""What we offer: use cases, the HTTP face, configuration, wiring and the command line."""

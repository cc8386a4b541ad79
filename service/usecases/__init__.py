"""One module for each thing that can be asked of the service; no framework, no driver."""

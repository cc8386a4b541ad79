"""The HTTP face: routes, authentication, wire formats, problems."""

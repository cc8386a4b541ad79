"""What the embedded default says when it cannot start or go on."""


class EmbeddedError(Exception):
    """The message is one sentence for the person at the terminal, with a path or a pid to look at."""

"""What a process does once when it has all that it keeps for good."""

import gc


def settle() -> None:
    """Spares the garbage collector what a process has when it begins to serve, and most of its rounds.

    Nearly all that a request or a job makes is let go by counting references. What is kept between them has
    no cycles: to walk over it again and again took a fifth of the time of checks that fill the caches, and a
    third of that of reading the journal.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 100)

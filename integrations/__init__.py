"""Who we talk to, and who talks to us."""

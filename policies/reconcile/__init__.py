"""Where our records and a payment provider's differ, what that means, and what may be done. Pure."""

"""Charging: what is ordered of a payment provider, and what follows from what it says. Pure."""

"""Stripe behind our own verbs: the only package that knows its library."""

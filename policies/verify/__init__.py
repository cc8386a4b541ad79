"""Do the plans of a catalog keep its invariants, for whatever tenant, usage and request?"""

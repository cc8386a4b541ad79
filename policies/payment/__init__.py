"""What payments say of a tenant: facts, and the table by which a billing status follows from them. Pure."""

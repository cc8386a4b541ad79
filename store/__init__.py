"""What we remember: Postgres is truth, Redis is speed."""

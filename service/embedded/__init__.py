"""The embedded default: private Postgres and Valkey under a supervisor of ours."""

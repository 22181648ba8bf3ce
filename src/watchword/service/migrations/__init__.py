"""Alembic's scripts: how the tables come to be, and how they change from one release to the next."""

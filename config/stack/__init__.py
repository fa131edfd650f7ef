"""The embedded PostgreSQL and Valkey, and the process runner behind `make run`.

Nothing of this room runs in production: where DATABASE_URL and REDIS_URL are set, those servers are used and none is
started. The room knows no Django, so that it can prepare the environment before settings are read.
"""

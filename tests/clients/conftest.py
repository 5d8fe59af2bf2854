"""Fixtures with real servers."""

from tests.object_store_fixture import object_store, store_settings
from tests.postgres_fixture import audit_database, postgres_server

__all__ = ["audit_database", "object_store", "postgres_server", "store_settings"]

"""Checks of systems that are dead, slow, hostile or refuse us."""

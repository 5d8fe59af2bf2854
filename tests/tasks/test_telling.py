"""Telling people: once per moment, harmless, and never in the way of the response."""

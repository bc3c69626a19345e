"""Tells webhooks what happens to Allium Beam backfills."""

__version__ = "0.1.0"

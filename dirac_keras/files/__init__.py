"""Bytes on disk: files written whole, `.keras` files, checksums, locks, tables."""

"""Readers: one file a source, from files on disk to examples."""

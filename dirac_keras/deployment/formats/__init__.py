"""Formats of an artefact: one file each, which writes it, and the registry."""

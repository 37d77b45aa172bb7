"""The command `dirac-keras reproduce`: the papers' tables and figures, their list and their ledger."""

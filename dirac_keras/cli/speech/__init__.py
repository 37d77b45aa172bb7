"""How the program speaks: lines, tables, JSON, errors in the words of the command line, and how it ends."""

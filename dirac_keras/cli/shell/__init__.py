"""Completion in bash, zsh and fish: from a table, since the commands themselves import Keras for seconds."""

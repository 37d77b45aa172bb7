"""The steps of a training: executed one by one or many at once, begun anywhere, and interrupted."""

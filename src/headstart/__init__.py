"""headstart gives a model a head start."""

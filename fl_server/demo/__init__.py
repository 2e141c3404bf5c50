"""The demo: a server, an actor and a few clients of `examples/digits`, each its own process."""

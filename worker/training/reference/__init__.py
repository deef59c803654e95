"""The readable trainer: the notebook's network, dropout and SGD; tests hold the engine to it."""

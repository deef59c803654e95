"""The readable experiment: the notebook's network, dropout and SGD, which the engine is held to."""

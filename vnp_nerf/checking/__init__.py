"""`vnp-scenes check`: reads a capture as the model would, draws it, and says in words what looks wrong."""

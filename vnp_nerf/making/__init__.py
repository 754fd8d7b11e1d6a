"""Making scenes to learn from: meshes, one renderer for all of them, and the writer of posed pictures."""

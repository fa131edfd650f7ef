"""The sandbox: a fal of our own for a machine without a key."""

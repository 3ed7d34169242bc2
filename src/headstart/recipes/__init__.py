"""The stories: what each command does, top to bottom."""

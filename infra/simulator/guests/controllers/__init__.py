"""What a real cluster's controllers do, done at once after each write. Begin at loop.py."""

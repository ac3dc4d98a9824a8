"""The gauntlet: processes that race for the same room and die at any moment, while a referee reads the laws.

`python -m tests.gauntlet` is the long one (`make gauntlet`); tests/integration/test_gauntlet.py runs short ones.
Begin at race.py.
"""

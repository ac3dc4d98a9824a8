"""The placement core: values and functions, numpy and the standard library; no I/O, no clock, no chance of its own.

Begin with ask.py (what is asked and answered) and fleet.py (what there is), then place.py (the decision).
"""

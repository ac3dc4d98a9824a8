"""Emptying hosts and zones live. `services`: what IT asks for; `plan`: the proof that all fits elsewhere; `reconcile`:
the pass, with its `scene`, the `claims` at the destinations and the `moves` under way. Begin with `services`."""

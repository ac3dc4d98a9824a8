"""How work gets done and told: Wakeup (the durable queue), the engine, Operation (the receipt), Event (the trail).

May import facet.rest. Knows no kind of object: facet/registry.py says what reconciles what. Begin with engine.py.
"""

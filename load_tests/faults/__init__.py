"""Faults on the real thing: brokers, Redis, workers and wires are broken under load, and an outside checker judges.

``python -m load_tests.faults --rounds 200``. ``world`` holds what runs, ``kinds`` how it is broken, ``progress`` how
long nothing moved, beside a ``bare`` consumer under the same fault, and ``rounds`` is the course of a run.
"""

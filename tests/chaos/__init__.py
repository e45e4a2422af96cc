"""Deterministic simulation: the whole runtime on virtual time, with every kind of fault, from one seed.

Theory of operation. A *round* is one world: a disk that outlives kills, one or two engines, one server after the other,
and people. Everything runs on one event loop whose clock jumps to the next timer; all that is random is drawn from
``random.Random(f"{seed}/{round}")``, so a round is a pure function of (seed, number, faults). People ask, leave, come
back with the number they last saw, cancel, fork, append, remove, delete; ``Fate`` kills, stops, crashes, hangs, cuts,
fills the disk, tears the journal's tail and moves the clock, exactly as often as it was told to. Then it is quiet, and
everything has to come to its end and to add up.
"""

"""The simulator: the real engine on virtual time, in a world that fails where it is told to.

A *schedule* is one run of a workflow under a list of faults; `simulation.Simulation` executes it and returns a
`recording.Recording`. It is a function of code, input, faults and seed. `explore` searches schedules in six passes, the
`oracles` judge them, `shrink` reduces what they find, `story` tells it.
"""

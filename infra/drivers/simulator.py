"""placeholder until the next commit"""


class SimulatorDriver: ...

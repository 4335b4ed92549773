"""Half of the runs, chosen by their names: six names, two runs each."""

import retrace


def agent(name):
    @retrace.record(name=name)
    def run():
        return name

    return run


for name in ("alpha", "beta", "gamma", "delta", "epsilon", "zeta"):
    for _ in range(2):
        agent(name)()

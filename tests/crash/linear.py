"""Whether a history is linearizable: Wing and Gong's search, with the states that were tried
remembered (Lowe). For short histories of one object.

An operation is (called, returned, apply): apply(state) gives the state after it, or None where
it can't have given the answer that it did, from that state. An operation whose outcome is not known has
returned = infinity and an apply that always works; it may also never take place.
"""

INFINITY = float("inf")


def is_linearizable(operations, state):
    operations = sorted(operations, key=lambda operation: operation[0])
    everything = (1 << len(operations)) - 1
    required = sum(1 << i for i, o in enumerate(operations) if o[1] != INFINITY)
    stack, tried = [(0, state)], set()
    while stack:
        done, state = stack.pop()
        if done & required == required:
            return True
        if (done, state) in tried:
            continue
        tried.add((done, state))
        left = [i for i in range(len(operations)) if not done >> i & 1]
        first_return = min(operations[i][1] for i in left)
        for i in left:
            if operations[i][0] > first_return:
                break  # it was called after another had returned, which has to come first
            after = operations[i][2](state)
            if after is not None:
                stack.append((done | 1 << i, after))
    assert done <= everything
    return False

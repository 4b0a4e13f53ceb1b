"""Checks whether a history is linearizable: Wing and Gong's search with a memo of the states
tried (Lowe). For short histories of one object.

An operation is (called, returned, apply). apply(state) returns the state after it, or None if the
operation can't have given its answer in that state. An operation with an unknown outcome has
returned = infinity and an apply that always works; it may also never happen.
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
                break  # another operation returned before this one was called, and must come first
            after = operations[i][2](state)
            if after is not None:
                stack.append((done | 1 << i, after))
    assert done <= everything
    return False

"""Child processes that load models and call them: the only place where torch loads a file.

    worker    Pool of `Runner`s            threads, no torch, no trust in what comes back
      | starts, tells to fork and to end
    nursery   torch imported, nothing run   clean environment, dies when the worker does
      | forks
    runner    `child`: does one job after another for one key; dies when the nursery does

A runner may run code that an actor wrote (admission has checked it). It has no database, no
broker and no settings; jobs name files by path. It is bound in memory, in the size of what it
writes, and in time; beyond that it is killed and costs its job alone. A key stands for the
files that a runner loads, so no two models meet in a process. All run as the same user of the
system: what keeps a model from touching files is admission, not the runner.

`jobs` and `errors` are shared by both sides, `launcher` and `pool` are the worker's.
"""

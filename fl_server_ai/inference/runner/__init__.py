"""Child processes that load models and call them: the only place where torch loads a file.

    worker        Pool of `Runner`s: threads, no torch, no trust in what comes back
      | starts, tells to fork and to end
    fork server   torch imported, nothing run; clean environment, dies when the worker does
      | forks
    runner        `child`: does one job after another for one key; dies when the fork server does

A runner may run code that an actor wrote, and a model may take it over. So `cage` has the kernel
close everything behind it before a model is read; a job's files come to it open, its results go
back over the socket. It is bound in memory and in time; beyond that it is killed and costs its
job alone. A key stands for the files that a runner loads, so no two models meet in a process.

`launcher` and `pool` are the worker's; `host` starts fork servers apart from it, in a container
that has nothing worth taking.
"""

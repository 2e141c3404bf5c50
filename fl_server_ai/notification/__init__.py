"""Delivering trainings' messages to their participants.

`delivery` starts what is due, in threads of the worker's own; `bulkheads` say which may begin, so
that a receiver that hangs holds up nobody else's; `outbox` claims the messages, which go out by
`posting`, signed by `signature`, to where `destinations` lets them.

Considered instead, and not built: a loop in each worker that claims due rows itself, without tasks
and without lines in memory. The rows say what is due, but not what has room: that is in this
process's memory, and the address that it hangs on is no column. To pick the first 16 of each
training and promptness among 10,000 due messages took SQLite 60 ms, to list all 260 ms. Hundreds of
posts end in a second, and each makes room; so a loop would keep in memory what it has found, which
is the lines again, and where the 16 were at one full address those behind them would wait for
nothing. Nor is there a task for each receiver, which would spread a training's over all workers: it
took 1.3 ms to enqueue with the broker made of files, and as long to take out again.
"""

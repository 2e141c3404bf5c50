"""Predictions and summaries, as web processes and the serving workers see them: no torch.

    client    the web's side: puts the input into the storage, asks a worker, waits
    worker    the worker's side: finds the files, has runners do the work
    start     what a worker says when it starts
    choice    how a model is served: by which method, of which files
    stats     summaries, asked for and stored

Both sides share the storage, the database and the broker, no more. Whatever is left in the
storage by somebody who died is an orphan that the sweeper removes.
"""

"""Predictions and summaries: from a web process over a queue to a model and back.

    client      the web's side: puts the input into the storage, asks a worker, waits
    choice      how a model is served: by which method, of which files
    stats       summaries, asked for and stored
    start       what a worker says when it starts
    worker      the worker's side: finds the files, has runners do the work
    protocol    what a runner is asked to do; terms belong to it
    runner/     child processes, caged and bound, the only ones that load models
    jobs/       what is done there: decode, load, predict, summarise, pack

Web and worker share the storage, the database and the broker, no more. Whatever is left in the
storage by somebody who died is an orphan that the sweeper removes. Only `runner` and `jobs` import
torch.
"""

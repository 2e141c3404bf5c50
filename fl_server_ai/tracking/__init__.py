"""A training's metrics, parameters and versions, to where data scientists look.

`table` reads what participants have reported as rows, `tensorboard` writes it as event files; both
are asked for. An experiment tracker is told by itself: `telling` finds which trainings there is
something new about, `story` says what that is, and a `Tracker` (`registry` has all) takes it in.
What is to be told follows from the rows, and `Tracking` keeps how far that has come, so a tracker
that is down, or a worker that dies, loses nothing. All of it may be told twice.
"""

"""Delivering what trainings owe their participants.

`outbox` says which message is due, `bulkheads` which delivery may begin, so that a receiver that
hangs holds up nobody else's, `delivery` posts, by `posting`, signed by `signature`, to where
`destinations` lets it.
"""

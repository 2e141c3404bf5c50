"""One ViewSet per noun; each method authorises, loads, calls one function, answers."""

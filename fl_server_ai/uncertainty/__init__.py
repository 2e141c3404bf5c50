"""How a prediction's uncertainty is found: one file per method, all walking the same way.

A method is a function of a `Run`. All but NONE run the model several times, differently, and
`walk` makes mean, spread and entropies of the outputs.

    registry    which methods there are and what each needs; Django, and no torch
    walk        `Run`, `Prediction`, and what several outputs say together
    calling     calling what somebody else wrote

All but `registry` is for runners, and imports torch, and no Django.
"""

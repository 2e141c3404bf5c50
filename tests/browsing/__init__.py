"""The pages in a browser: which there are, a server with something to see, Chromium.

pages       the table of all pages
world       a training of digits that has been through its rounds
chromium    a browser, signed in, or with what its console says
"""

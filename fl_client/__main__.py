"""`python -m fl_client` is the command `fl`."""

from fl_client.command import main

main()

#!/usr/bin/env python
"""Django's command line for this project."""

import os
import sys
from argparse import ArgumentParser

from django.core.management import execute_from_command_line

if __name__ == "__main__":
    # The settings ask for the folder before any command has read its arguments.
    parser = ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--data-dir")
    options, arguments = parser.parse_known_args()
    if options.data_dir:
        os.environ["FL_DATA_DIR"] = options.data_dir
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "fl_server.settings")
    execute_from_command_line([sys.argv[0], *arguments])

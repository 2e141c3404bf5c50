"""Tell, as a line of JSON, which layers hold on this machine for an `FL_DEVICE`."""

import json
import sys
from dataclasses import asdict

from fl_server_ai.inference.runner.cage import enter, has_gpu

if __name__ == "__main__":
    json.dump(asdict(enter(gpu=has_gpu(sys.argv[1]))), sys.stdout)

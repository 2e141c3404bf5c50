"""Asks whether a pinned package has a known vulnerability: `python -m tests.audit`.

Fails on what is known and not in ACCEPTED. Says what couldn't be asked, and goes on.
"""

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from typing import Any

ACCEPTED: dict[str, str] = {}
"""By id, with the reason why it does no harm here."""
COMMAND = [sys.executable, "-m", "pip_audit", "--requirement", "constraints.txt"]
COMMAND += ["--disable-pip", "--no-deps", "--format", "json", "--progress-spinner", "off"]
SECONDS = 120


def main() -> int:
    try:
        asked = subprocess.run(COMMAND, capture_output=True, timeout=SECONDS, check=False)
        packages = json.loads(asked.stdout)["dependencies"]
    except (subprocess.TimeoutExpired, ValueError):
        sys.stdout.write("Nobody answered about vulnerabilities: no package is audited.\n")
        return 0
    found, audited = list(unaccepted(packages)), sum("vulns" in package for package in packages)
    told = f"{audited} of {len(packages)} packages audited, {len(found)} vulnerabilities.\n"
    sys.stdout.write("\n".join([*found, told]))
    return 1 if found else 0


def unaccepted(packages: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    """Return a line for each vulnerability that isn't accepted."""
    for package in packages:
        for known in package.get("vulns", []):
            if not ACCEPTED.keys() & {known["id"], *known["aliases"]}:
                fixed = ", ".join(known["fix_versions"]) or "no version"
                yield f"{package['name']} {package['version']}: {known['id']}, fixed in {fixed}"


if __name__ == "__main__":
    sys.exit(main())

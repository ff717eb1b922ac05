"""The running API against its own description: schemathesis, all of its checks and phases, on a real database file.

More of it: `script/test tests/test_schemathesis.py --fuzz 200`, with a new seed each time, which is printed.
"""

import os
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT_ID, ROOT_SECRET
from tests.serving import served

ROOT = Path(__file__).resolve().parent.parent
SEED, EXAMPLES = 20261124, 2


@pytest.mark.timeout(3600)
def test_the_running_api_keeps_to_its_description(config, request, tmp_path):
    wanted = request.config.getoption("--fuzz")
    seed = secrets.randbelow(2**31) if wanted else SEED
    with served(config) as port:
        options = {
            "--auth": f"{ROOT_ID}:{ROOT_SECRET}",
            "--checks": "all",
            # It takes every DELETE for a removal, but one that answers 200 stopped a channel, which stays to be
            # read. tests/schemathesis_hooks.py checks the same of those that answer 204.
            "--exclude-checks": "use_after_free",
            "--max-examples": wanted or EXAMPLES,
            "--seed": seed,
            "--request-timeout": 20,
        }
        command = [Path(sys.executable).parent / "schemathesis"]
        command += ["--config-file", ROOT / "tests/schemathesis.toml"]
        command += ["run", f"http://127.0.0.1:{port}/openapi.json", "--continue-on-failure"]
        command += [part for option in options.items() for part in option]
        told = subprocess.run(
            [str(part) for part in command],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
    print(told.stdout)
    assert told.returncode == 0, f"seed {seed}:\n{told.stdout}\n{told.stderr}"
    assert "Stateful" in told.stdout

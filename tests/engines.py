"""The engines that this build has, by the names of `make run STORE=`."""

import os
import subprocess
from pathlib import Path

BUILD = Path(__file__).resolve().parents[1] / os.environ.get("BUILD", "build")
LIBRARIES = subprocess.run(["ldd", BUILD / "tokenctl"], capture_output=True, text=True).stdout

ENGINES = ["lmdb", "postgresql"] if "libpq.so" in LIBRARIES else ["lmdb"]

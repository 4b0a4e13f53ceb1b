"""The second engine's rows of make bench: a private PostgreSQL, and loads without nginx and worker."""

import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

SETTINGS = {"fsync": "on", "autovacuum": "on", "shared_buffers": "128MB", "max_connections": "100"}
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


def why_not(build):
    """Why the rows are left out; None where they are not."""
    if not (build / "bench/direct").exists():
        return "built without libpq"
    if not (list(Path("/usr/lib/postgresql").glob("*/bin/initdb")) or shutil.which("initdb")):
        return "there is no PostgreSQL (Debian: postgresql)"
    return None


class PostgreSQL:
    """A server as the tests start it, which keeps what it has committed; stopped by stop()."""

    def __init__(self, bench):
        sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests/postgresql"))
        import server  # after why_not: it needs initdb
        for folder in (bench.work, bench.run):
            folder.chmod(0o711)
        (bench.run / "disk").symlink_to(bench.work)  # the path of its socket must be short
        self.server = server.Server(bench.run / "disk/pg").start(**SETTINGS)

    def stop(self):
        self.server.stop()

    def create(self, name):
        """A new database's location."""
        self.server.query(f"CREATE DATABASE {name}")
        return f"postgresql://postgres@/{name}?host={self.server.folder}"

    def cpu_s(self):
        """Processor time of its processes; their parent has that of those that have ended."""
        parent = self.server.process.pid
        ticks = 0
        for pid in [*self.server.children(), parent]:
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            except OSError:  # it has just ended
                continue
            ticks += sum(map(int, fields[11:15] if pid == parent else fields[11:13]))
        return ticks / CLOCK_TICKS

    def measure_direct(self, build, store, kind, threads, seconds):
        """One turn of direct.c."""
        command = [build / "bench/direct", kind, threads, seconds, store.location, store.secret,
                   store.users, store.info["first_id"] + 1]
        server, own = self.cpu_s(), resource.getrusage(resource.RUSAGE_CHILDREN)
        out = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, timeout=seconds + 60,
                             check=True).stdout
        server, then, own = self.cpu_s() - server, own, resource.getrusage(resource.RUSAGE_CHILDREN)
        result = json.loads(out)
        own_s = own.ru_utime + own.ru_stime - then.ru_utime - then.ru_stime
        count = max(1, result["requests"])
        return {"rate": result["requests"] / result["seconds"], "cpu": own_s * 1e6 / count,
                "server": server * 1e6 / count}

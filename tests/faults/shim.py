"""Steers tests/faults/fault.c."""

import ctypes
import mmap
import shutil
import threading

from service import BUILD, Store

LIBRARY = BUILD / "faults/fault.so"
WRITE, SYNC, SIZE, AHEAD = 1, 2, 4, 8


class Control(ctypes.Structure):
    """struct control of fault.c."""

    _fields_ = [
        ("kinds", ctypes.c_uint32),
        ("countdown", ctypes.c_int32),
        ("error", ctypes.c_int32),
        ("for_ever", ctypes.c_uint32),
        ("failed", ctypes.c_uint32),
        ("calls", ctypes.c_uint32),
    ]


class Faults:
    """Preloads the library and sets which calls fail. A mixin for Store or Site."""

    def prepare_faults(self):
        path = self.dir / "control"
        path.write_bytes(bytes(ctypes.sizeof(Control)))
        path.chmod(0o666)
        with path.open("r+b") as file:
            self.control = Control.from_buffer(mmap.mmap(file.fileno(), 0))
        library = self.dir / "fault.so"  # the workers' user may not be able to enter this checkout
        shutil.copy(LIBRARY, library)
        library.chmod(0o755)
        self.preload = {
            "LD_PRELOAD": str(library),
            "FAULT_CONTROL": str(path),
            "FAULT_STORE": str(self.dir / "store"),
            "TOKEN_SANDBOX": "off",  # the library opens its file, and looks up the file of each write
        }

    def arm(self, kinds, error, nth, for_ever=False):
        self.control.kinds = 0
        self.control.failed = self.control.calls = 0
        self.control.countdown, self.control.error = nth, error
        self.control.for_ever = for_ever
        self.control.kinds = kinds

    def disarm(self):
        """The number of calls that failed."""
        self.control.kinds = 0
        return self.control.failed


class FaultyStore(Faults, Store):
    """One worker, and instead of multiwatch a thread that starts another when it ends."""

    def set_up(self):
        super().set_up()
        self.prepare_faults()
        self.worker, self.path = self.start_worker(**self.preload)
        self.statuses, self.closing = [], False
        self.supervisor = threading.Thread(target=self.supervise)
        self.supervisor.start()

    def supervise(self):
        while True:
            status = self.worker.wait()
            if self.closing:
                return
            self.statuses.append(status)
            self.worker = self.start_worker_on(self.listeners[-1], **self.preload)

    def close(self):
        if hasattr(self, "supervisor"):
            self.closing = True
            while self.supervisor.is_alive():
                self.worker.terminate()
                self.supervisor.join(timeout=1)
        super().close()

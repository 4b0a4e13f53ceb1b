"""These tests need the second engine in the build."""

from engines import ENGINES

collect_ignore_glob = [] if "postgresql" in ENGINES else ["test_*.py"]

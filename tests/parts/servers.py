"""Private instances of the real servers: free ports, data in a temporary folder, stopped with the run.

Root may not run PostgreSQL, so as root its processes run as `nobody` in a folder that `nobody` owns.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tern.stack.process import Part, accepts_connections, free_port, spawn

RABBITMQ_BIN = Path("/usr/lib/rabbitmq/bin")
POSTGRES_ROOT = Path("/usr/lib/postgresql")
Argv = list[str | Path]


class MissingPartError(Exception):
    """A real server is not installed. A missing part fails the run; it never skips."""

    def __init__(self, package: str) -> None:
        super().__init__(f"{package} is not installed: run `make parts` (or `apt-get install {package}`)")


def _binary(path: str | Path, package: str) -> Path:
    found = shutil.which(str(path))
    if found is None:
        raise MissingPartError(package)
    return Path(found)


@contextmanager
def folder(prefix: str) -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix=f"tern-{prefix}-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def start_redis(directory: Path, port: int, *, cluster: bool = False, append_only: bool = False) -> Part:
    """redis-server on `port`; a second start in the same folder finds its data when `append_only`."""
    argv: Argv = [
        _binary("redis-server", "redis-server"), "--bind", "127.0.0.1", "--port", str(port),
        "--dir", directory, "--daemonize", "no", "--save", "", "--maxmemory-policy", "noeviction",
        "--appendonly", "yes" if append_only else "no",
    ]  # fmt: skip
    if cluster:
        argv += ["--cluster-enabled", "yes", "--cluster-config-file", directory / "nodes.conf"]
        argv += ["--cluster-port", str(free_port())]
    part = spawn("redis", argv, directory)
    part.wait_ready(lambda: accepts_connections(port), 15)
    if cluster:
        part.wait_ready(lambda: _owns_every_slot(port), 15)
    return part


def _owns_every_slot(port: int) -> bool:
    """Takes the slots first, when nobody has them."""
    cli: Argv = [_binary("redis-cli", "redis-server"), "-p", str(port), "cluster"]
    info = subprocess.check_output([*cli, "info"], text=True)
    if "cluster_slots_assigned:16384" not in info:
        subprocess.run([*cli, "addslotsrange", "0", "16383"], check=True, stdout=subprocess.DEVNULL)
    return "cluster_state:ok" in info


def start_postgres(directory: Path, port: int) -> Part:
    """PostgreSQL with superuser `postgres`, trust authentication, durability off (tests only)."""
    versions = sorted(POSTGRES_ROOT.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if not versions:
        raise MissingPartError("postgresql")
    binaries = versions[-1].parent
    user, group = _unprivileged(directory)
    data = directory / "data"
    if not data.exists():
        initdb: Argv = [binaries / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "--no-sync"]
        subprocess.run(
            [*initdb, "--locale=C.UTF-8", "-E", "UTF8"],
            check=True, stdout=subprocess.DEVNULL, user=user, group=group, cwd=directory,
        )  # fmt: skip
    argv: Argv = [binaries / "postgres", "-D", data, "-h", "127.0.0.1", "-p", str(port), "-k", directory]
    for setting in ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=200"):
        argv += ["-c", setting]
    part = spawn("postgres", argv, directory, user=user, group=group, stop_signal=signal.SIGINT)
    ready: Argv = [binaries / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
    part.wait_ready(lambda: subprocess.run(ready, check=False).returncode == 0, 30)
    return part


def _unprivileged(directory: Path) -> tuple[int | None, int | None]:
    if os.geteuid() != 0:
        return None, None
    nobody = pwd.getpwnam("nobody")
    os.chown(directory, nobody.pw_uid, nobody.pw_gid)
    return nobody.pw_uid, nobody.pw_gid


def start_rabbitmq(directory: Path, port: int) -> Part:
    """A RabbitMQ node with an epmd of its own (which otherwise would outlive it)."""
    server = _binary(RABBITMQ_BIN / "rabbitmq-server", "rabbitmq-server")
    epmd_port, dist_port = free_port(), free_port()
    conf = f"listeners.tcp.1 = 127.0.0.1:{port}\ndisk_free_limit.absolute = 50MB\n"
    (directory / "rabbitmq.conf").write_text(conf)
    (directory / "enabled_plugins").write_text("[].\n")
    epmd = spawn("epmd", [_binary("epmd", "rabbitmq-server"), "-address", "127.0.0.1", "-port", str(epmd_port)],
                 directory)  # fmt: skip
    epmd.wait_ready(lambda: accepts_connections(epmd_port), 15)
    names = {
        "NODENAME": f"t{port}@localhost", "NODE_PORT": port, "NODE_IP_ADDRESS": "127.0.0.1",
        "DIST_PORT": dist_port, "MNESIA_BASE": directory / "mnesia", "LOG_BASE": directory / "log",
        "CONFIG_FILE": directory / "rabbitmq.conf", "CONF_ENV_FILE": "/dev/null",
        "ENABLED_PLUGINS_FILE": directory / "enabled_plugins", "PID_FILE": directory / "pid",
        "SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} +S 2:2 +sbwt none",
    }  # fmt: skip
    env = {"PATH": f"{RABBITMQ_BIN}:/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": str(directory),
           "ERL_EPMD_ADDRESS": "127.0.0.1", "ERL_EPMD_PORT": str(epmd_port)}  # fmt: skip
    env |= {f"RABBITMQ_{name}": str(value) for name, value in names.items()}
    part = spawn("rabbitmq", [server], directory, env=env)
    part.before.append(epmd)
    part.wait_ready(lambda: accepts_connections(port), 60)
    return part

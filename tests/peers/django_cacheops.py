"""What django-cacheops costs, as JSON lines: see README.md beside this.

    python django_cacheops.py --port 7777 --mode classic
    python django_cacheops.py --port 7777 --mode insideout
    python django_cacheops.py --fragment        # the text that is cached

The Redis server has to be up and empty; it is flushed over and over.
"""

import argparse
import gc
import json
import os
import platform
import statistics
import sys
import time
import zlib
from contextlib import contextmanager
from functools import partial
from importlib.metadata import PackageNotFoundError, version

PEER = "django-cacheops 7.2"
SIZE = 2048
TIMEOUT = 3600
CATEGORY = 3
CHUNK = 1000
PLAIN = "plain:" + "0" * 29  # as long as a fragment's key
MANY = 100_000
MEMORY_FRAGMENTS = 10_000


def fragment():
    """2 KB of HTML, the same on any machine: rows of a list, in words of a
    vocabulary that a linear congruential generator makes up."""
    seed = 20_260_101

    def below(limit):
        nonlocal seed
        seed = (seed * 6_364_136_223_846_793_005 + 1_442_695_040_888_963_407) % 2**64
        return (seed >> 33) % limit

    def word():
        return "".join("etaoinshrdlucmfwypvbgkjqxz"[below(26)] for _ in range(3 + below(7)))

    words = [word() for _ in range(200)]

    def text(count):
        return " ".join(words[below(200)] for _ in range(count))

    html, end = '<ul class="articles">', "</ul>"
    while True:
        row = (
            f'<li class="article"><a href="/articles/{below(10**6)}/">{text(4)}</a>'
            f'<span class="author">{text(2)}</span><p>{text(7)}</p></li>'
        )
        if len(html) + len(row) + len(end) > SIZE - len("<li></li>"):
            break
        html += row
    rest = SIZE - len(html) - len("<li></li>") - len(end)
    return f"{html}<li>{text(rest)[:rest]}</li>{end}"


FRAGMENT = fragment()
assert len(FRAGMENT.encode()) == SIZE

parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
parser.add_argument("--port", type=int, help="of an empty redis-server on this machine")
parser.add_argument("--mode", choices=["classic", "insideout"])
parser.add_argument("--fragment", action="store_true", help="print the text and leave")
args = parser.parse_args()
if args.fragment:
    print(FRAGMENT, end="")
    sys.exit()
if not args.port or not args.mode:
    parser.error("--port and --mode are needed")
INSIDEOUT = args.mode == "insideout"

# Django and cacheops read their settings when they are imported.
import django
from django.conf import settings

settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=["cacheops"],
    CACHEOPS_REDIS={"host": "127.0.0.1", "port": args.port, "db": 0},
    # No queries are cached by themselves: fragments only.
    CACHEOPS={"peers.*": {"ops": (), "timeout": TIMEOUT}},
    CACHEOPS_INSIDEOUT=INSIDEOUT,
)
django.setup()

import cacheops.getset
import cacheops.jinja2
import cacheops.query
import jinja2
import redis
from cacheops import cached_as, invalidate_model, invalidate_obj
from cacheops.redis import load_script, redis_client
from django.db import connection, models
from markupsafe import Markup
from redis.connection import AbstractConnection


class Article(models.Model):
    category = models.IntegerField()
    status = models.CharField(max_length=20)
    title = models.CharField(max_length=200)

    class Meta:
        app_label = "peers"


TABLE = Article._meta.db_table
ARTICLES = Article.objects.filter(category=CATEGORY)
CONJUNCTION = f"conj:{TABLE}:category={CATEGORY}"

TAG = "{% cached_as articles, extra=lang %}{{ body() }}{% endcached_as %}"
ENV = jinja2.Environment(
    extensions=[cacheops.jinja2.cache],
    autoescape=True,
    auto_reload=False,
    loader=jinja2.DictLoader(
        {
            "template": "{{ text }}",
            "hit": TAG,
            # The tag's key is made of the template's name and the line.
            "page20": "\n".join([TAG] * 20),
            "body": FRAGMENT,
            "miss": "{% cached_as articles, extra=lang %}" + FRAGMENT + "{% endcached_as %}",
        }
    ),
)


def render(name, **context):
    return ENV.get_template(name).render(**context)


# Printing.


def say(what, times, unit="us", **more):
    """A line of the median and the 10th and 90th percentile."""
    times = sorted(times)

    def at(share):
        place = share * (len(times) - 1)
        low = int(place)
        high = min(low + 1, len(times) - 1)
        return round(times[low] + (times[high] - times[low]) * (place - low), 2)

    line = {"peer": PEER, "mode": args.mode, "what": what}
    line |= {"p50": at(0.5), "p10": at(0.1), "p90": at(0.9), "n": len(times), "unit": unit}
    print(json.dumps(line | more), flush=True)


def versions():
    server = redis_client.info()
    try:
        server_cpus = sorted(os.sched_getaffinity(server["process_id"]))
    except (AttributeError, OSError):
        server_cpus = None
    try:
        hiredis = version("hiredis")
    except PackageNotFoundError:
        hiredis = None
    line = {
        "peer": PEER,
        "mode": args.mode,
        "what": "versions",
        "python": platform.python_version(),
        "django": django.__version__,
        "redis_py": redis.__version__,
        "hiredis": hiredis,
        "resp": redis_client.client_info().get("resp"),
        "jinja2": version("Jinja2"),
        "cacheops": cacheops.__version__,
        "redis_server": server["redis_version"],
        "cpus": os.cpu_count(),
        "client_cpus": sorted(os.sched_getaffinity(0)),
        "server_cpus": server_cpus,
        "fragment_bytes": SIZE,
        "fragment_zlib_bytes": len(zlib.compress(FRAGMENT.encode())),
    }
    print(json.dumps(line), flush=True)


# Timing.


def timed(run):
    """Microseconds of one run."""
    start = time.perf_counter_ns()
    run()
    return (time.perf_counter_ns() - start) / 1000


@contextmanager
def plain_get():
    """What gets a plain value: the measure of the machine, by turns with the
    rest. Takes no part in invalidations and leaves no key."""
    redis_client.set(PLAIN, FRAGMENT, ex=TIMEOUT)
    yield lambda: redis_client.get(PLAIN)
    redis_client.delete(PLAIN)


def in_turns(cases, rounds):
    """Times the cases by turns, each so often a round as it is told to, and a
    plain GET with them."""
    with plain_get() as get:
        cases = {"get": (get, 100)} | cases
        times = {name: [] for name in cases}
        for number in range(rounds + 3):
            for name, (run, often) in cases.items():
                found = [timed(run) for _ in range(often)]
                if number >= 3:  # the first rounds warm up
                    times[name] += found
    return times


def median(times):
    return round(statistics.median(times), 2)


@contextmanager
def counting():
    """Collects the name of each command that goes to the server, a trip each."""
    names = []
    send = AbstractConnection.send_packed_command

    def counted(self, command, *more, **kwargs):
        packed = command if isinstance(command, bytes) else b"".join(command)
        names.append(packed.split(b"\r\n", 3)[2].decode())
        return send(self, command, *more, **kwargs)

    AbstractConnection.send_packed_command = counted
    try:
        yield names
    finally:
        AbstractConnection.send_packed_command = send


# Filling.


@contextmanager
def filling():
    """Lets the library fill quickly: it looks nothing up, and its scripts go
    to the server in pipelines."""
    pipe = redis_client.pipeline(transaction=False)
    old = cacheops.query.getting, cacheops.getset.load_script

    @contextmanager
    def missing(*_, **__):
        if len(pipe) >= CHUNK:
            pipe.execute()
        yield None

    cacheops.query.getting = missing
    cacheops.getset.load_script = lambda name: partial(load_script(name), client=pipe)
    try:
        yield
        pipe.execute()
    finally:
        cacheops.query.getting, cacheops.getset.load_script = old


computed = 0


def small(number):
    """The text of a fragment that is there to be dropped."""
    global computed
    computed += 1
    return f"<li>{number}</li>"


dependent = cached_as(ARTICLES, extra=lambda number: number)(small)


def unrelated(number):
    own = Article.objects.filter(category=1000 + number)
    return cached_as(own, extra=number)(small)(number)


def fill(one, count):
    with filling():
        for number in range(count):
            one(number)


def expect(found, wanted, what):
    if found != wanted:
        sys.exit(f"django_cacheops.py: {what}: {found}, not {wanted}")


def computed_of_sample(one, count):
    """How many of up to 50 fragments aren't cached, and how many were asked."""
    before = computed
    sample = range(0, count, max(1, count // 50))
    for number in sample:
        one(number)
    return computed - before, len(sample)


def check_cached(one, count, conjunctions):
    """Sees that all fragments are there and registered."""
    # The fragments, their conjunctions, and the set of schemes.
    expect(redis_client.dbsize(), count + conjunctions + 1, "keys after filling")
    if conjunctions == 1:
        registered = (
            redis_client.exists(CONJUNCTION) if INSIDEOUT else redis_client.scard(CONJUNCTION)
        )
        expect(registered, 1 if INSIDEOUT else count, "registered under the conjunction")
    expect(computed_of_sample(one, count)[0], 0, "misses after filling")


def check_dropped(one, count):
    missed, asked = computed_of_sample(one, count)
    expect(missed, asked, "misses after invalidating")


# What is measured.


def trips():
    context = {"articles": ARTICLES, "lang": "trips", "body": lambda: Markup(FRAGMENT)}
    render("miss", **context | {"lang": "warm"})  # the scripts are loaded
    for what, name in [("miss", "hit"), ("hit", "hit"), (None, "page20"), ("page20", "page20")]:
        with counting() as names:
            render(name, **context)
        if what:
            say(f"trips_{what}", [len(names)], "trips", commands=sorted(set(names)))


def hits():
    def body():
        raise AssertionError("a hit renders no body")

    context = {"articles": ARTICLES, "lang": "de", "body": lambda: Markup(FRAGMENT)}
    render("hit", **context)
    render("page20", **context)
    context["body"] = body
    expect(render("hit", **context), FRAGMENT, "a hit")
    expect(render("page20", **context), "\n".join([FRAGMENT] * 20), "a page of hits")
    function = cached_as(ARTICLES, extra="de")(lambda: FRAGMENT)
    function()
    text = Markup(FRAGMENT)
    times = in_turns(
        {
            "template": (lambda: render("template", text=text), 100),
            "queryset": (lambda: Article.objects.filter(category=CATEGORY), 100),
            "hit": (lambda: render("hit", **context), 100),
            "page20": (lambda: render("page20", **context), 10),
            "cached_as_function": (function, 100),
        },
        rounds=60,
    )
    for what, found in times.items():
        say(what, found, get_p50=median(times["get"]))


def misses():
    number = 0

    def miss():
        nonlocal number
        number += 1
        render("miss", articles=ARTICLES, lang=str(number))

    redis_client.flushdb()
    times = in_turns({"miss": (miss, 100), "body": (lambda: render("body"), 100)}, rounds=40)
    expect(redis_client.dbsize(), number + 2, "keys after misses")
    body = median(times["body"])
    found = [each - body for each in times["miss"]]
    say("miss", found, get_p50=median(times["get"]), body_p50=body)


def invalidations():
    row = Article.objects.create(category=CATEGORY, status="published", title="One")
    # Its invalidation takes the same way and finds nothing, which warms up.
    other = Article(pk=2, category=7, status="published", title="Other")

    def drop_obj():
        invalidate_obj(row)

    def drop_model():
        invalidate_model(Article)

    def warm():
        """Times a plain GET, then warms up."""
        with plain_get() as get:
            gets = [timed(get) for _ in range(200)]
        for _ in range(200):
            invalidate_obj(other)
        return gets[100:]

    def repeated(drop):
        """Many times over, with what is there."""
        times = in_turns({"drop": (drop, 100)}, rounds=30)
        return {"times": times["drop"], "get_p50": median(times["get"])}

    def refilled(drop, count, times):
        """Fills before each, all under one conjunction."""
        redis_client.flushdb()
        found, gets = [], []
        for _ in range(times):
            fill(dependent, count)
            check_cached(dependent, count, 1)
            gets += warm()
            found.append(timed(drop))
            check_dropped(dependent, count)
        about = {"dependents": count, "dependent_bytes": len(small(count))}
        return {"times": found, "get_p50": median(gets)} | about

    redis_client.flushdb()
    fill(dependent, 1)
    drop_obj()  # leaves the scheme
    say("invalidate_obj_0", **repeated(drop_obj), dependents=0)
    say("invalidate_obj_1000", **refilled(drop_obj, 1000, 40))
    say("invalidate_obj_100000", **refilled(drop_obj, MANY, 5))
    say("invalidate_model_100000", **refilled(drop_model, MANY, 5))

    redis_client.flushdb()
    fill(unrelated, MANY)
    check_cached(unrelated, MANY, MANY)
    say("invalidate_obj_100000_unrelated", **repeated(drop_obj), unrelated=MANY)
    expect(computed_of_sample(unrelated, MANY)[0], 0, "unrelated fragments dropped")
    # While they are there; once, for they take long to fill.
    gets = warm()
    found = [timed(drop_model)]
    check_dropped(unrelated, MANY)
    about = {"dependents": MANY, "conjunctions": MANY}
    say("invalidate_model_100000_conjunctions", found, get_p50=median(gets), **about)


def memory():
    def plain(ex):
        pipe = redis_client.pipeline(transaction=False)
        for number in range(MEMORY_FRAGMENTS):
            pipe.set(f"as:{number:032d}", FRAGMENT, ex=ex)
            if len(pipe) >= CHUNK:
                pipe.execute()
        pipe.execute()

    def fragments():
        with filling():
            for number in range(MEMORY_FRAGMENTS):
                own = Article.objects.filter(category=number)
                cached_as(own, extra=number)(lambda: FRAGMENT)()

    def used():
        """Bytes in use, when the server has come to rest and no other client
        has buffers there."""
        redis_client.connection_pool.disconnect()
        client = redis.Redis(host="127.0.0.1", port=args.port)
        last = None
        for _ in range(50):
            time.sleep(0.2)
            now = client.info("memory")["used_memory"]
            if last is not None and abs(now - last) < 1024:
                return now
            last = now
        sys.exit("django_cacheops.py: the server's memory doesn't come to rest")

    def each(fill_all):
        redis_client.flushdb()
        before = used()
        fill_all()
        after = used()
        return (after - before) / MEMORY_FRAGMENTS

    each(partial(plain, None))  # the server's own tables grow once
    without, expiring, full = (
        each(partial(plain, None)),
        each(partial(plain, TIMEOUT)),
        each(fragments),
    )
    expect(redis_client.dbsize(), 2 * MEMORY_FRAGMENTS + 1, "keys of fragments")
    say(
        "memory",
        [full - without],
        "bytes",
        fragment=round(full),
        plain=round(without),
        plain_expiring=round(expiring),
        fragments=MEMORY_FRAGMENTS,
    )


def main():
    try:
        keys = redis_client.dbsize()
    except redis.ConnectionError as e:
        sys.exit(f"django_cacheops.py: no Redis: {e}")
    if keys:
        sys.exit(f"django_cacheops.py: the Redis on port {args.port} holds keys: it must be empty")
    with connection.schema_editor() as editor:
        editor.create_model(Article)
    versions()
    if len(os.sched_getaffinity(0)) > 1:
        print("django_cacheops.py: not pinned to a core: figures will move", file=sys.stderr)
    started = time.monotonic()
    for measure in [trips, hits, misses, invalidations, memory]:
        redis_client.flushdb()
        gc.collect()
        measure()
    redis_client.flushdb()
    say("run", [time.monotonic() - started], "s")


main()

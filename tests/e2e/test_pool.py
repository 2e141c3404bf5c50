"""PostgreSQL's pool: whoever waits lends its connection, and dead ones hold up nobody."""

import json
import os
import secrets
import subprocess
import sys

import pytest

from tests.compose import ROOT
from tests.servers import Postgres
from tests.waiting import PATIENCE

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("pool")]

SETUP = """
import json, sys, threading
from django.conf import settings
settings.DATABASES["default"]["OPTIONS"]["pool"].update(json.loads(sys.argv[1]))
import django; django.setup()
from django.core.management import call_command
from django.db import connection
from django.test import Client
from fl_server_core.models import Model, Notification, Training, User
settings.ALLOWED_HOSTS = ["testserver"]
call_command("migrate", verbosity=0)

def ask_often():
    for _ in range(5):
        User.objects.count()
        connection.close()
"""

POLLS = """
from types import SimpleNamespace
from fl_server_api import waiting
places, user = waiting.POLLS.each, User.objects.create(username="ann")
asleep = threading.Semaphore(0)

class Falling(threading.Event):
    def wait(self, seconds):
        asleep.release()
        return super().wait(seconds)

waiting.Event, waiting.WOKEN_PAUSE = Falling, 0.5
waiting.time = SimpleNamespace(monotonic=lambda: 0.0)  # no wait is ever over
header = {"HTTP_AUTHORIZATION": f"Token {user.auth_token.key}"}
answers = []

def ask():
    answers.append(Client().get("/api/notifications/?wait=30", **header).json())
    connection.close()  # as the server does after a request

polls = [threading.Thread(target=ask) for _ in range(places)]
connection.close()
for poll in polls:
    poll.start()
for _ in range(5 * places):
    asleep.acquire()
ask_often()
assert answers == [], answers
model = Model.objects.create(owner=user, name="m")
training = Training.objects.create(actor=user, model=model, target_num_updates=1)
Notification.objects.create(
    training=training, receiver=user, type="TRAINING_START",
    round=0, attempt=0, sequence=1, body={},
)
connection.close()
for poll in polls:
    poll.join()
told = [[item["notification_type"] for item in answer] for answer in answers]
assert told == places * [["TRAINING_START"]], answers
print("ok", places)
"""

POSTS = """
from django.db.models.functions import Now
from fl_server_ai.notification import delivery, posting
names = ("ann", "bob", "cho")
users = [User.objects.create(username=n, message_endpoint=f"http://{n}.test/") for n in names]
model = Model.objects.create(owner=users[0], name="m")
training = Training.objects.create(actor=users[0], model=model, target_num_updates=1)
for user in users:
    Notification.objects.create(
        training=training, receiver=user, type="TRAINING_START", next_attempt_at=Now(),
        round=0, attempt=0, sequence=1, body={},
    )
under_way, go_on = threading.Semaphore(0), threading.Event()

def hang(*_, **__):
    under_way.release()
    go_on.wait()
    return 204

posting.post = hang

def deliver(user):
    delivery.deliver(training.pk, user.pk)
    connection.close()  # as the worker does after a task

posts = [threading.Thread(target=deliver, args=[user]) for user in users]
connection.close()
for post in posts:
    post.start()
for _ in posts:
    under_way.acquire()
ask_often()
go_on.set()
for post in posts:
    post.join()
assert not Notification.objects.pending().exists()
print("ok", len(posts))
"""


DEAD = """
from contextlib import ExitStack
from fl_server_core.connections import lend_connection
count, taken, over = 12, threading.Barrier(13), threading.Event()

def hold():
    User.objects.count()
    taken.wait()
    over.wait()
    lend_connection()

holders = [threading.Thread(target=hold) for _ in range(count)]
for holder in holders:
    holder.start()
taken.wait()
over.set()
for holder in holders:
    holder.join()
with connection.cursor() as cursor:
    cursor.execute(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    ended = cursor.fetchone()[0]
assert ended >= count, ended
connection.close()
assert User.objects.count() == 0
print("ok", ended)
"""


@pytest.fixture(scope="module")
def postgres():
    with Postgres() as server:
        yield server


@pytest.fixture
def run(postgres, tmp_path):
    """Run a script on a database of its own."""

    def call(name, script, **pool):
        settings = {
            "DJANGO_SETTINGS_MODULE": "fl_server.settings",
            "FL_DATA_DIR": str(tmp_path),
            "FL_DJANGO_SECRET_KEY": secrets.token_urlsafe(50),
        }
        done = subprocess.run(
            [sys.executable, "-c", SETUP + script, json.dumps(pool)],
            cwd=ROOT,
            env=os.environ | postgres.database(name) | settings,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        assert done.stdout.startswith("ok")

    return call


@pytest.mark.parametrize("script", [POLLS, POSTS], ids=["polls", "posts"])
def test_many_wait_and_others_find_the_only_connection(run, request, script):
    run(request.node.callspec.id, script, max_size=1, timeout=PATIENCE)


def test_the_first_query_after_a_restart_finds_a_connection_that_lives(run):
    run("dead", DEAD)

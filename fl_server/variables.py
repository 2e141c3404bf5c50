"""The environment variables that an operator can set, in the order of docs/settings.md.

Each is declared here alone, with default, bounds and meaning, and is a setting of the same name.
`make tables` writes them into docs/settings.md. Which contradict each other stands beside them.
"""

from fl_server import env

env.section("Where things are kept")
FL_DATA_DIR = env.text(
    "FL_DATA_DIR",
    "var",
    "the folder for everything that is kept in files; `serve` closes it to other users, unless "
    "`FL_ACCEL_PREFIX` has one read models",
)
FL_POSTGRES_HOST = env.text(
    "FL_POSTGRES_HOST", "", "PostgreSQL instead of SQLite; the other `FL_POSTGRES_…` need it"
)
FL_POSTGRES_PORT = env.integer("FL_POSTGRES_PORT", 5432, "its port")
FL_POSTGRES_DBNAME = env.text("FL_POSTGRES_DBNAME", "fl", "the database there")
FL_POSTGRES_USER = env.text("FL_POSTGRES_USER", "fl", "who logs in there")
FL_POSTGRES_PASSWD = env.secret("FL_POSTGRES_PASSWD", "with what")
if not FL_POSTGRES_HOST:
    env.expect_none("FL_POSTGRES_", without="FL_POSTGRES_HOST")
FL_REDIS_HOST = env.text("FL_REDIS_HOST", "", "Redis as broker and cache instead of files")
FL_REDIS_PORT = env.integer("FL_REDIS_PORT", 6379, "its port", minimum=1)
FL_REDIS_LOCATION = env.secret(
    "FL_REDIS_LOCATION", "Redis by a URL, which may hold a password, instead of host and port"
)
if not FL_REDIS_HOST and not FL_REDIS_LOCATION:
    env.expect_none("FL_REDIS_", without="FL_REDIS_HOST")
FL_S3_BUCKET = env.text(
    "FL_S3_BUCKET",
    "",
    "S3 instead of a folder for model files; install `fl-server[s3]`. The other `FL_S3_…` need it",
)
FL_S3_REGION = env.text("FL_S3_REGION", "", "where the bucket is", shown="boto3's")
FL_S3_ENDPOINT_URL = env.text("FL_S3_ENDPOINT_URL", "", "a server other than Amazon's")
FL_S3_ACCESS_KEY = env.secret(
    "FL_S3_ACCESS_KEY", "set both keys, or none: boto3 then looks where it always does"
)
FL_S3_SECRET_KEY = env.secret("FL_S3_SECRET_KEY", "the other of them")
if not FL_S3_BUCKET:
    env.expect_none("FL_S3_", without="FL_S3_BUCKET")
elif not env.is_installed("boto3"):
    env.problems.append("FL_S3_BUCKET needs boto3: install fl-server[s3].")
if bool(FL_S3_ACCESS_KEY) != bool(FL_S3_SECRET_KEY):
    env.problems.append("Set both FL_S3_ACCESS_KEY and FL_S3_SECRET_KEY, or none.")

env.section("Who may talk to it")
FL_DJANGO_SECRET_KEY = env.secret(
    "FL_DJANGO_SECRET_KEY",
    "signs sessions and opens the stored tokens and notification secrets; needed with PostgreSQL",
    shown="made, and kept in `FL_DATA_DIR`",
)
if not FL_DJANGO_SECRET_KEY and FL_POSTGRES_HOST:
    env.problems.append("Set FL_DJANGO_SECRET_KEY or FL_DJANGO_SECRET_KEY_FILE.")
FL_DJANGO_SECRET_KEY_FALLBACK = env.secrets(
    "FL_DJANGO_SECRET_KEY_FALLBACK",
    "a list of earlier keys, whose sessions and tokens go on; each token moves to the new key "
    "when it is used, and its user's notification secret with it",
)
FL_RECORD_KEY = env.secret(
    "FL_RECORD_KEY",
    "signs [records of trainings](record.md#the-key): 32 random bytes in base64",
    shown="made of `FL_DJANGO_SECRET_KEY`",
)
FL_DJANGO_ALLOWED_HOSTS = env.items(
    "FL_DJANGO_ALLOWED_HOSTS",
    "a list of the host names and addresses that clients may reach it by, without port; "
    "`.example.org` for all below it, `*` for any",
    shown="`localhost`, `127.0.0.1`, `[::1]`",
)
FL_REGISTRATION = env.choice(
    "FL_REGISTRATION",
    "open",
    ("open", "invitation", "closed"),
    "who may register over the API: `open` to all; `invitation`: who sends a code as `invitation` "
    "along with name and password, which an administrator has made in admin or by `manage.py "
    "invite`, is good for one registration, and for a week; `closed`: nobody, admin adds users",
)
FL_TOKEN_DAYS = env.integer(
    "FL_TOKEN_DAYS",
    0,
    "so long a token is valid; its user then makes a new one with the password; 0: for good",
)
FL_TLS = env.boolean(
    "FL_TLS",
    "true behind a proxy that ends TLS and always sets `X-Forwarded-Proto`: secure cookies, HSTS, "
    "plain http redirected",
    default=False,
)
FL_PASSWORD_RULES = env.boolean(
    "FL_PASSWORD_RULES",
    "whether new passwords must be long and uncommon",
    default=bool(FL_POSTGRES_HOST),
    shown="true with PostgreSQL, else false",
)
FL_WRONG_PASSWORDS = env.integer(
    "FL_WRONG_PASSWORDS",
    30,
    "so many in five minutes from one address, and for one user name; then 429. Tokens are none",
    minimum=1,
)
FL_REGISTRATIONS = env.integer(
    "FL_REGISTRATIONS", 1000, "so many in an hour from one address; then 429", minimum=1
)
FL_STEERINGS = env.integer(
    "FL_STEERINGS",
    300,
    "so many orders to trainings in five minutes by one user: start, resume, rollback, notify, and "
    "removing other participants, each of which has others called; then 429. To stop a training "
    "and to leave one are always possible",
    minimum=1,
)
FL_ACTS = env.integer(
    "FL_ACTS",
    1000,
    "so many changes in five minutes by one user who isn't staff: whatever the audit log tells "
    "of, such as uploads, trainings, tokens, groups, logins; then 429. What only ends something "
    "is always possible: to stop or remove a training, to take out a participant, to remove a "
    "model or a group. Updates and metrics are none; to take an update back is one",
    minimum=1,
)
FL_PROXIES = env.networks(
    "FL_PROXIES",
    "",
    "a list of networks, such as `172.16.0.0/12`, whose `X-Real-IP` says whom a request comes "
    "from; behind another proxy all clients are one address",
    shown="none; docker compose: the private ones",
)
CORS_ALLOWED_ORIGINS = env.items(
    "CORS_ALLOWED_ORIGINS",
    "a list of origins, such as `https://app.example.org`, whose pages may call the API",
)
CORS_ALLOWED_ORIGIN_REGEXES = env.items(
    "CORS_ALLOWED_ORIGIN_REGEXES", "the same, as regular expressions"
)
CORS_ALLOW_ALL_ORIGINS = env.boolean(
    "CORS_ALLOW_ALL_ORIGINS", "any page may call the API", default=False
)
CORS_ALLOW_CREDENTIALS = env.boolean(
    "CORS_ALLOW_CREDENTIALS", "those pages may use the session's cookie", default=False
)
CSRF_TRUSTED_ORIGINS = env.items(
    "CSRF_TRUSTED_ORIGINS",
    "a list of origins whose pages may post with a session, such as the proxy's own where it "
    "changes the host name",
)

env.section("Web processes and uploads")
FL_WEB_WORKERS = env.integer("FL_WEB_WORKERS", 2, "processes", minimum=1)
FL_WEB_THREADS = env.integer(
    "FL_WEB_THREADS", 24, "threads of each, for as many requests at once", minimum=1
)
FL_MAX_UPLOAD_BYTES = env.size(
    "FL_MAX_UPLOAD_BYTES",
    4 * 1024**3,
    "largest upload of models and updates, also once inflated",
)
FL_MAX_BODY_BYTES = env.size(
    "FL_MAX_BODY_BYTES",
    1024**2,
    "largest body of a new training with its options and clients, and of metrics; so much text "
    "may one user's metrics on a model in one round have in all; other bodies without a file may "
    "have 64 KiB",
)
FL_MAX_OPTIONS_BYTES = env.size(
    "FL_MAX_OPTIONS_BYTES",
    16 * 1024,
    "a training's options, as JSON; every list of trainings shows them",
)
FL_MAX_METRIC_BYTES = env.size(
    "FL_MAX_METRIC_BYTES", 16 * 1024, "one metric's value that is no number"
)
FL_KEEP_UPLOADS_HOURS = env.integer(
    "FL_KEEP_UPLOADS_HOURS",
    24,
    "an [upload in parts](files.md#links-that-drop) is kept so long after its last byte, if "
    "nothing has used it",
    minimum=1,
)
FL_QUOTA_UPLOADS = env.integer(
    "FL_QUOTA_UPLOADS",
    20,
    "uploads in parts of one user that nothing has used yet; then 429. 0 is no limit, here as "
    "below",
)
FL_QUOTA_BYTES = env.size(
    "FL_QUOTA_BYTES",
    100 * 1024**3,
    "what one user may store: models with their preprocessing, versions and these' strategy "
    "state, updates, moments, and uploads in parts with the length that they are to have; then "
    "507",
    minimum=0,
)
FL_QUOTA_MODELS = env.integer("FL_QUOTA_MODELS", 10_000, "models of one user; then 429")
FL_QUOTA_TRAININGS = env.integer("FL_QUOTA_TRAININGS", 1000, "trainings of one actor; then 429")
FL_QUOTA_RUNNING = env.integer("FL_QUOTA_RUNNING", 100, "those of them that run at once")
FL_QUOTA_GROUPS = env.integer(
    "FL_QUOTA_GROUPS", 100, "groups that a user who makes one is in; then 429"
)
FL_MODEL_CLASSES = env.items(
    "FL_MODEL_CLASSES",
    "a list of classes that a model file may name beyond those that are known, as "
    "`module:ClassName`",
)
FL_MODEL_CODE = env.choice(
    "FL_MODEL_CODE",
    "trusted" if FL_POSTGRES_HOST else "any",
    ("any", "trusted", "none"),
    "who may upload models that carry code, and preprocessing: `any` user; `trusted`, those to "
    'whom an administrator has given the permission "Can upload models that carry code", and '
    "superusers; or `none`. [Weights alone](files.md#weights-alone) anybody may upload",
    shown="`trusted` with PostgreSQL, else `any`",
)
FL_ACCEL_PREFIX = env.text(
    "FL_ACCEL_PREFIX",
    "",
    "an internal location of the proxy that stands for `models` in `FL_DATA_DIR`: it then sends "
    "the downloads (`X-Accel-Redirect`); not with S3",
)
if FL_ACCEL_PREFIX and FL_S3_BUCKET:
    env.problems.append("FL_ACCEL_PREFIX is of no use with FL_S3_BUCKET: unset one of them.")
FL_STATIC_DIR = env.text(
    "FL_STATIC_DIR", "", "the folder that `manage.py collectstatic` fills for a proxy to send"
)
FL_AUDIT_LOG = env.text(
    "FL_AUDIT_LOG",
    "",
    "a file that the [audit log](audit.md) is appended to, too, as lines of JSON; without it they "
    "stand in the server's log",
)
FL_DEBUG = env.boolean(
    "FL_DEBUG",
    "Django's pages with details of errors: never where others reach it",
    default=False,
)

env.section("Rounds and notifications")
FL_DEVICE = env.choice(
    "FL_DEVICE",
    "auto",
    ("auto", "cpu", "cuda"),
    "where models are merged and run: `cpu`, `cuda`, or `auto` for whichever there is",
)
FL_MANAGED_BY = env.choice(
    "FL_MANAGED_BY",
    "participants",
    ("participants", "actor"),
    "who starts a new training and changes its participants, where its options don't say: "
    "`participants` (and its actor), or `actor`",
)
FL_MERGE_LEASE_SECONDS = env.integer(
    "FL_MERGE_LEASE_SECONDS",
    60,
    "after so long without a sign of life another worker takes a merge over",
    minimum=5,
)
FL_MERGE_ATTEMPTS = env.integer(
    "FL_MERGE_ATTEMPTS", 5, "so many merges in vain end a training", minimum=1
)
FL_KEEP_UPDATE_ROUNDS = env.integer(
    "FL_KEEP_UPDATE_ROUNDS", 0, "the files of updates are kept for so many rounds after theirs"
)
FL_KEEP_CHECKPOINTS = env.integer(
    "FL_KEEP_CHECKPOINTS",
    10,
    "versions of a model that are kept, where a training's options say nothing else",
    minimum=1,
)
FL_KEEP_NOTIFICATION_DAYS = env.integer(
    "FL_KEEP_NOTIFICATION_DAYS",
    90,
    "calls for updates and for SWAG moments are deleted after so many days, once they are settled "
    "and their round is over; 0: never",
)
FL_KEEP_AUDIT_DAYS = env.integer(
    "FL_KEEP_AUDIT_DAYS",
    0,
    "rows of the [audit log](audit.md) are deleted after so many days; 0: never",
)
FL_NOTIFY_TIMEOUT_SECONDS = env.integer(
    "FL_NOTIFY_TIMEOUT_SECONDS", 10, "how long a receiver may take to answer", minimum=1
)
FL_NOTIFY_RETRY_SECONDS = env.integer(
    "FL_NOTIFY_RETRY_SECONDS",
    2,
    "the pause before a notification is posted again; each further one is twice as long",
    minimum=1,
)
# By address, whatever its name; fl_server_ai.notification.destinations tells the rest.
LOCAL_NETWORKS = "127.0.0.0/8, ::1, 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, fc00::/7"
FL_NOTIFY_ALLOW = env.networks(
    "FL_NOTIFY_ALLOW",
    "" if FL_POSTGRES_HOST else LOCAL_NETWORKS,
    "a list of networks, such as `10.0.0.0/8`, that notifications are posted to although they "
    "aren't public",
    shown="none with PostgreSQL, else loopback and private networks",
)
FL_NOTIFY_DENY = env.networks("FL_NOTIFY_DENY", "", "a list of networks that nothing is posted to")

env.section("Logs and traces")
FL_LOG_LEVEL = env.text("FL_LOG_LEVEL", "INFO", "`DEBUG`, `INFO`, `WARNING` or `ERROR`")
FL_LOG_FORMAT = env.choice(
    "FL_LOG_FORMAT",
    "json" if FL_POSTGRES_HOST else "text",
    ("text", "json"),
    "`json`: one object a line; `text`: lines for people",
    shown="`json` with PostgreSQL, else `text`",
)
FL_ACCESS_LOG = env.boolean(
    "FL_ACCESS_LOG",
    "whether the web processes log each request, and not only those that are refused; nginx does "
    "so anyway",
    default=False,
)
OTEL_EXPORTER_OTLP_ENDPOINT = env.text(
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "",
    "the URL of a collector of traces, such as `http://collector:4318`; install `fl-server[otel]`",
    shown="none: no traces",
)
OTEL_EXPORTER_OTLP_TRACES_ENDPOINT = env.text(
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "",
    "the same, with its whole path, such as `http://collector:4318/v1/traces`",
)
OTEL_EXPORTER_OTLP_PROTOCOL = env.choice(
    "OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf", ("http/protobuf",), "the one there is"
)
# No variable, but a setting: whether there are any.
FL_TRACES = bool(OTEL_EXPORTER_OTLP_ENDPOINT or OTEL_EXPORTER_OTLP_TRACES_ENDPOINT)
if FL_TRACES and not env.is_installed("opentelemetry.exporter.otlp.proto.http"):
    env.problems.append("OTEL_EXPORTER_OTLP_ENDPOINT needs OpenTelemetry: install fl-server[otel].")
    FL_TRACES = False

env.section("Metrics of the server")
FL_METRICS_TOKEN = env.secret(
    "FL_METRICS_TOKEN",
    "who sends it, as `Authorization: Bearer …`, may read [`/metrics/`](metrics.md); of at least "
    "16 characters. Without it nothing is counted, and `/metrics/` is 404",
)
if FL_METRICS_TOKEN and len(FL_METRICS_TOKEN) < 16:
    env.problems.append("FL_METRICS_TOKEN must have at least 16 characters.")
FL_METRICS_PORT = env.integer(
    "FL_METRICS_PORT",
    0,
    "where a worker in a container of its own answers `/metrics/`, with the same token; `serve` "
    "needs none; 0: nowhere",
)

env.section("Experiment tracking")
FL_MLFLOW_TRACKING_URI = env.text(
    "FL_MLFLOW_TRACKING_URI",
    "",
    "the address of an MLflow server, `https://…`, that is told about "
    "[each training](tracking.md#mlflow); the other `FL_MLFLOW_…` need it",
)
FL_MLFLOW_EXPERIMENT = env.text(
    "FL_MLFLOW_EXPERIMENT", "federated-learning", "the experiment that its runs are in"
)
FL_MLFLOW_MODELS = env.boolean(
    "FL_MLFLOW_MODELS", "whether the files of versions go there too", default=False
)
# By the names that MLflow's own clients know.
MLFLOW_TRACKING_USERNAME = env.text("MLFLOW_TRACKING_USERNAME", "", "who logs in there")
MLFLOW_TRACKING_PASSWORD = env.secret("MLFLOW_TRACKING_PASSWORD", "with what")
MLFLOW_TRACKING_TOKEN = env.secret("MLFLOW_TRACKING_TOKEN", "a token instead")
if not FL_MLFLOW_TRACKING_URI:
    env.expect_none("FL_MLFLOW_", without="FL_MLFLOW_TRACKING_URI")
elif not FL_MLFLOW_TRACKING_URI.startswith(("http://", "https://")):
    env.problems.append("FL_MLFLOW_TRACKING_URI must be a server's address, http:// or https://.")

env.section("Predictions")
FL_CAGE = env.choice(
    "FL_CAGE",
    "require" if FL_POSTGRES_HOST else "warn",
    ("require", "warn"),
    "`require`: no model runs where the system can't hold it; `warn`: it does, and the log says "
    "so ([security.md](security.md))",
    shown="`warn`; `require` with PostgreSQL",
)
FL_RUNNERS_SOCKET = env.text(
    "FL_RUNNERS_SOCKET",
    "",
    "the socket of `fl_server_ai.inference.runner.host`, where models run in a container of their "
    "own",
    shown="they run beside the worker",
)
FL_RUNNERS = env.integer("FL_RUNNERS", 4, "processes that stay with their model loaded")
FL_RUNNER_MEMORY_BYTES = env.size(
    "FL_RUNNER_MEMORY_BYTES", 4 * 1024**3, "memory that each of them may take"
)
FL_RUNNER_SECONDS = env.integer("FL_RUNNER_SECONDS", 30, "time that a request may take", minimum=1)
FL_MAX_INFERENCE_BATCH = env.integer(
    "FL_MAX_INFERENCE_BATCH", 4096, "inputs in one request", minimum=1
)
FL_MAX_INFERENCE_BYTES = env.size(
    "FL_MAX_INFERENCE_BYTES", 64 * 1024**2, "largest input, also once inflated"
)
FL_MAX_INFERENCE_JSON_BYTES = env.size(
    "FL_MAX_INFERENCE_JSON_BYTES",
    10 * 1024**2,
    "largest request in JSON; each of 2 million numbers, texts, lists and objects in it counts",
)
FL_STATS_WAIT_SECONDS = env.integer(
    "FL_STATS_WAIT_SECONDS",
    5,
    "how long a model's `metadata/` waits for the summary of its layers",
)

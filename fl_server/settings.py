"""Django's settings, all of them: the variables of the environment, and what comes of them.

Without any variable the server runs embedded: SQLite, a broker made of files, everything
under `FL_DATA_DIR`. `FL_POSTGRES_HOST`, `FL_REDIS_HOST` and `FL_S3_BUCKET` name servers to use
instead. Reading this changes nothing; `folders` makes what it names.
"""

from pathlib import Path
from typing import Any

from corsheaders.defaults import default_headers
from django.conf import global_settings
from kombu import Exchange, Queue

from fl_server.variables import *
from fl_server_core.log_lines import FORMATTERS

BASE_DIR = Path(__file__).resolve().parent.parent
DATA_DIR = Path(FL_DATA_DIR).absolute()
DEBUG = FL_DEBUG

# --- Who may talk to it --------------------------------------------------------------
SECRET_KEY = FL_DJANGO_SECRET_KEY
KEY_FILE = None if SECRET_KEY else DATA_DIR / "secret_key"  # read, or made, as the server starts
SECRET_KEY_FALLBACKS = FL_DJANGO_SECRET_KEY_FALLBACK
ALLOWED_HOSTS = FL_DJANGO_ALLOWED_HOSTS or ["localhost", "127.0.0.1", "[::1]"]
CORS_ALLOW_HEADERS = [*default_headers, "content-encoding", "if-none-match", "if-range", "range"]
CORS_ALLOW_HEADERS += ["traceparent", "x-request-id"]
CORS_EXPOSE_HEADERS = [
    "Accept-Ranges",
    "Content-Disposition",
    "Content-Range",
    "ETag",
    "Retry-After",
    "X-Request-ID",
]
# Of the tus protocol, by which uploads are resumed.
CORS_ALLOW_HEADERS += ["tus-resumable", "upload-checksum", "upload-length", "upload-metadata"]
CORS_ALLOW_HEADERS += ["upload-offset", "x-http-method-override"]
CORS_EXPOSE_HEADERS += ["Location", "Tus-Checksum-Algorithm", "Tus-Extension", "Tus-Max-Size"]
CORS_EXPOSE_HEADERS += ["Tus-Resumable", "Tus-Version", "Upload-Expires", "Upload-Length"]
CORS_EXPOSE_HEADERS += ["Upload-Metadata", "Upload-Offset"]
CSRF_FAILURE_VIEW = "fl_server_api.errors.answer_forgery"

SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if FL_TLS else None
SECURE_SSL_REDIRECT = SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = FL_TLS
SECURE_REDIRECT_EXEMPT = ["^health/", "^metrics/$"]  # asked from inside, where nothing is encrypted
SECURE_HSTS_SECONDS = 30 * 24 * 3600 if FL_TLS else 0
# Not for subdomains nor browsers' lists, because what else runs on this domain isn't known here.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]

AUTH_USER_MODEL = "fl_server_core.User"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
    if FL_PASSWORD_RULES
]

AUTHENTICATION_BACKENDS = ["fl_server_core.passwords.Backend"]
PASSWORD_HASHERS = [
    "fl_server_core.passwords.PBKDF2PasswordHasher",
    *global_settings.PASSWORD_HASHERS[1:],  # for passwords that another server has hashed
]

# --- What is installed ---------------------------------------------------------------
INSTALLED_APPS = [
    "fl_server",
    "fl_server_core",
    "fl_server_ai",
    "fl_server_api",
    "django.contrib.admin.apps.SimpleAdminConfig",  # only the urls import the pages for operators
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "corsheaders",
]
MIDDLEWARE = [
    "fl_server_api.request_ids.TrackRequests",
    "fl_server_api.counting.CountRequests",
    "fl_server_api.content_security.ContentSecurity",
    "fl_server_api.middleware.LogRefusals",
    "fl_server_api.middleware.NameActor",
    "fl_server_api.middleware.KnownHost",
    "fl_server_api.middleware.KeepMethod",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "corsheaders.middleware.CorsMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "fl_server_api.middleware.CommonMiddleware",
    "fl_server_api.middleware.BodyLimit",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "fl_server_api.middleware.AnswerThrottled",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
ROOT_URLCONF = "fl_server.urls"
WSGI_APPLICATION = "fl_server.wsgi.application"
STATIC_URL = "/static/"
STATIC_ROOT = FL_STATIC_DIR or None
WHITENOISE_USE_FINDERS = True  # no collectstatic step on a laptop
LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True

# --- Where things are kept -----------------------------------------------------------
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
SQLITE: dict[str, Any] = {
    "ENGINE": "fl_server.sqlite",
    "NAME": DATA_DIR / "db.sqlite3",
    "CONN_MAX_AGE": None,
    "OPTIONS": {
        # SQLite has no row locks: a transaction takes the write lock when it begins.
        "transaction_mode": "IMMEDIATE",
        "timeout": 30,
        "init_command": "PRAGMA journal_mode=WAL",
    },
}
POSTGRES: dict[str, Any] = {
    "ENGINE": "fl_server.postgresql",
    "HOST": FL_POSTGRES_HOST,
    "PORT": FL_POSTGRES_PORT,
    "NAME": FL_POSTGRES_DBNAME,
    "USER": FL_POSTGRES_USER,
    "PASSWORD": FL_POSTGRES_PASSWD,
    "OPTIONS": {
        "pool": {
            "min_size": 1,
            # Of each process: one for every thread that serves, and for the checks. Threads
            # that post or poll give theirs back meanwhile.
            "max_size": max(FL_WEB_THREADS, 16) + 2,
            "timeout": 5,
            "reconnect_timeout": 2,  # bounds the pauses, which double while the server is away
        }
    },
}
DATABASES = {"default": POSTGRES if FL_POSTGRES_HOST else SQLITE}

MODEL_DIR = DATA_DIR / "models"
FOLDER: dict[str, Any] = {
    "BACKEND": "django.core.files.storage.FileSystemStorage",
    "OPTIONS": {"location": MODEL_DIR},
}
S3: dict[str, Any] = {
    "BACKEND": "storages.backends.s3.S3Storage",
    "OPTIONS": {
        "bucket_name": FL_S3_BUCKET,
        "endpoint_url": FL_S3_ENDPOINT_URL or None,
        "region_name": FL_S3_REGION or None,
        # Without keys boto3 looks for some where it always does, the machine's role included.
        "access_key": FL_S3_ACCESS_KEY or None,
        "secret_key": FL_S3_SECRET_KEY or None,
        # Servers other than Amazon's rarely have a host name for each bucket.
        "addressing_style": "path" if FL_S3_ENDPOINT_URL else None,
        "max_memory_size": 1024**2,  # of a file on its way to the disk
    },
}
STORAGES = {
    "default": S3 if FL_S3_BUCKET else FOLDER,
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
# Inside the storage folder, so that a finished file is moved there and not copied; with S3
# the local copies lie here.
SCRATCH_DIR = MODEL_DIR / "scratch"
UPLOAD_DIR = MODEL_DIR / "uploads"  # that come in parts; with S3 these lie here, too

# --- Broker, queues, beat ------------------------------------------------------------
REDIS_URL = FL_REDIS_LOCATION
if FL_REDIS_HOST and not REDIS_URL:
    REDIS_URL = f"redis://{FL_REDIS_HOST}:{FL_REDIS_PORT}"
REDIS_TIMEOUTS = {"socket_connect_timeout": 1, "socket_timeout": 5}

CACHES: dict[str, Any] = {
    "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
    # What a process remembers of passwords that were right.
    "passwords": {
        "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
        "LOCATION": "passwords",
        "TIMEOUT": 300,
        "OPTIONS": {"MAX_ENTRIES": 1000},
    },
}

BROKER_DIR = DATA_DIR / "broker"
RESULT_DIR = DATA_DIR / "results"
if REDIS_URL:
    CELERY_BROKER_URL = CELERY_RESULT_BACKEND = REDIS_URL
    CELERY_BROKER_TRANSPORT_OPTIONS: dict[str, Any] = REDIS_TIMEOUTS
    CACHES["default"] = {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL,
        # Clearing the cache empties its database; the broker's is number 0.
        "OPTIONS": {"db": 1, **REDIS_TIMEOUTS},
    }
else:
    CELERY_BROKER_URL = "filesystem://localhost"
    CELERY_BROKER_TRANSPORT = "fl_server.transport:Transport"
    CELERY_BROKER_TRANSPORT_OPTIONS = {"folder": str(BROKER_DIR), "polling_interval": 0.02}
    CELERY_RESULT_BACKEND = f"fl_server.results.FileBackend+file://{RESULT_DIR}"
CELERY_REDIS_SOCKET_CONNECT_TIMEOUT = 1
CELERY_REDIS_SOCKET_TIMEOUT = 5
CELERY_RESULT_BACKEND_TRANSPORT_OPTIONS = {"retry_policy": {"timeout": 1.0}}
CELERY_RESULT_EXPIRES = 3600
# Workers wait for a broker however long it is away; whoever enqueues waits a second.
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_TASK_PUBLISH_RETRY_POLICY = {
    "max_retries": 3,
    "interval_start": 0,
    "interval_step": 0.1,
    "interval_max": 0.2,
}

CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_QUEUES = [
    Queue(name, Exchange(name), routing_key=name)
    for name in ("rounds", "notify", "serving", "summaries")
]
CELERY_TASK_CREATE_MISSING_QUEUES = False  # because nobody would consume a misspelt queue
CELERY_TASK_DEFAULT_QUEUE = "notify"
CELERY_TASK_ROUTES = {
    "fl_server_ai.tasks.merge_round": {"queue": "rounds"},
    "fl_server_ai.tasks.dispatch": {"queue": "notify"},
    "fl_server_ai.tasks.sweep": {"queue": "notify"},
    "fl_server_ai.tasks.remove_orphaned_files": {"queue": "notify"},
    "fl_server_ai.tasks.predict": {"queue": "serving"},
    "fl_server_ai.tasks.summarise": {"queue": "summaries"},
}
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_REDIRECT_STDOUTS = False
CELERY_BEAT_SCHEDULE_FILENAME = str(DATA_DIR / "beat-schedule")
CELERY_BEAT_SYNC_EVERY = 15  # tasks, half a minute: the file's age tells whether beat lives
CELERY_BEAT_SCHEDULE = {
    # A sweep that has waited is dropped, because the next one does the same.
    "sweep": {"task": "fl_server_ai.tasks.sweep", "schedule": 2.0, "options": {"expires": 2}},
    "remove_orphaned_files": {
        "task": "fl_server_ai.tasks.remove_orphaned_files",
        "schedule": 3600.0,
        "options": {"expires": 3600},
    },
}

# --- Uploads -------------------------------------------------------------------------
FILE_UPLOAD_HANDLERS = ["fl_server_api.upload.UploadHandler"]
FILE_UPLOAD_TEMP_DIR = SCRATCH_DIR
DATA_UPLOAD_MAX_MEMORY_SIZE = 10 * 1024**2  # all of a form but its files
FL_SMALL_BODY_BYTES = 64 * 1024  # wherever no other limit holds
DATA_UPLOAD_MAX_NUMBER_FIELDS = 10_000
# The proxy that sends the files runs as another user of the system.
FILE_UPLOAD_PERMISSIONS = 0o644 if FL_ACCEL_PREFIX else 0o600

# --- The API -------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "fl_server_api.authentication.TokenAuthentication",
        "fl_server_api.authentication.BasicAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_PARSER_CLASSES": [
        "fl_server_api.parsers.JSONParser",
        "fl_server_api.parsers.FormParser",
        "fl_server_api.parsers.MultiPartParser",
    ],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": ("fl_server_api.negotiation.LenientContentNegotiation"),
    "DEFAULT_SCHEMA_CLASS": "fl_server_api.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "fl_server_api.errors.handle",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
SPECTACULAR_SETTINGS: dict[str, Any] = {
    "TITLE": "Federated Learning Demonstrator Server API",
    "DESCRIPTION": (
        "Train one model on many clients' data without the data ever leaving them: an actor "
        "uploads a model and opens a training; the participants are notified round by round, "
        "train and hand their updates in; the server merges them. A body may come compressed, with "
        "`Content-Encoding: gzip` or `zstd`. A list comes whole unless `page` or `page_size` asks "
        "for a page."
    ),
    "VERSION": "1.0.0",
    "TAGS": [
        {"name": "users", "description": "Clients, actors and operators."},
        {"name": "groups", "description": "Groups of users; members see and change them."},
        {"name": "models", "description": "Models, the updates to them, the metrics on them."},
        {"name": "uploads", "description": "Files that come in parts (tus 1.0.0)."},
        {"name": "trainings", "description": "Rounds of training, and who takes part."},
        {"name": "inference", "description": "Predictions, with their uncertainty."},
        {"name": "notifications", "description": "For clients that fetch what they are told."},
    ],
    "SCHEMA_PATH_PREFIX": "/api/",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_AUTHENTICATION": [],  # so that wrong credentials don't matter
    "COMPONENT_SPLIT_REQUEST": True,
    "PREPROCESSING_HOOKS": ["fl_server_api.openapi.add_heads"],
    "POSTPROCESSING_HOOKS": [],  # choices are shown where they are made
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
}

# --- Logs ----------------------------------------------------------------------------
LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"()": FORMATTERS[FL_LOG_FORMAT]}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": FL_LOG_LEVEL},
    # Celery logs every message, and a sweep is one every two seconds.
    "loggers": {
        name: {"level": "WARNING"}
        for name in ("celery.app.trace", "celery.beat", "celery.worker.strategy")
    }
    # It logs every try to reach a collector, and then that it gave up.
    | {"opentelemetry.exporter": {"level": "ERROR"}},
}
if FL_AUDIT_LOG:
    LOGGING["handlers"]["acts"] = {"()": "fl_server_core.appending.Appending", "path": FL_AUDIT_LOG}
    alone = {"handlers": ["acts"], "level": "INFO", "propagate": False}
    LOGGING["loggers"]["fl_server_core.audit"] = alone

# Secrets that stand in the settings above don't stand there twice.
del FL_DJANGO_SECRET_KEY, FL_DJANGO_SECRET_KEY_FALLBACK, FL_REDIS_LOCATION
del FL_POSTGRES_PASSWD, FL_S3_ACCESS_KEY, FL_S3_SECRET_KEY

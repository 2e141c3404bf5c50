"""Django's settings, all of them; every choice comes from the environment.

Without any variable the server runs embedded: SQLite, a broker made of files, everything
under `FL_DATA_DIR`. `FL_POSTGRES_HOST` and `FL_REDIS_HOST` name servers to use instead.
"""

from pathlib import Path
from typing import Any

from fl_server import env

BASE_DIR = Path(__file__).resolve().parent.parent
DATA_DIR = Path(env.text("FL_DATA_DIR", "var")).absolute()
DATA_DIR.mkdir(parents=True, exist_ok=True)

POSTGRES_HOST = env.text("FL_POSTGRES_HOST")
REDIS_HOST = env.text("FL_REDIS_HOST")
DEBUG = env.boolean("FL_DEBUG", default=False)

# --- Who may talk to it --------------------------------------------------------------
SECRET_KEY = env.secret("FL_DJANGO_SECRET_KEY")
if not SECRET_KEY and POSTGRES_HOST:
    env.problems.append("Set FL_DJANGO_SECRET_KEY or FL_DJANGO_SECRET_KEY_FILE.")
SECRET_KEY = SECRET_KEY or env.kept_secret(DATA_DIR / "secret_key")
SECRET_KEY_FALLBACKS = env.items("FL_DJANGO_SECRET_KEY_FALLBACK")
ALLOWED_HOSTS = env.items("FL_DJANGO_ALLOWED_HOSTS") or ["localhost", "127.0.0.1", "[::1]"]
CORS_ALLOWED_ORIGINS = env.items("CORS_ALLOWED_ORIGINS")
CORS_ALLOWED_ORIGIN_REGEXES = env.items("CORS_ALLOWED_ORIGIN_REGEXES")
CORS_ALLOW_ALL_ORIGINS = env.boolean("CORS_ALLOW_ALL_ORIGINS", default=False)
CORS_ALLOW_CREDENTIALS = env.boolean("CORS_ALLOW_CREDENTIALS", default=False)
CSRF_TRUSTED_ORIGINS = env.items("CSRF_TRUSTED_ORIGINS")

AUTH_USER_MODEL = "fl_server_core.User"
FL_PASSWORD_RULES = env.boolean("FL_PASSWORD_RULES", default=bool(POSTGRES_HOST))
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

# --- What is installed ---------------------------------------------------------------
INSTALLED_APPS = [
    "fl_server",
    "fl_server_core",
    "fl_server_ai",
    "fl_server_api",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "rest_framework.authtoken",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "corsheaders",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "corsheaders.middleware.CorsMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
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
WHITENOISE_USE_FINDERS = True  # no collectstatic step on a laptop
LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True

# --- Where things are kept -----------------------------------------------------------
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
SQLITE: dict[str, Any] = {
    "ENGINE": "django.db.backends.sqlite3",
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
    "ENGINE": "django.db.backends.postgresql",
    "HOST": POSTGRES_HOST,
    "PORT": env.integer("FL_POSTGRES_PORT", 5432),
    "NAME": env.text("FL_POSTGRES_DBNAME", "fl"),
    "USER": env.text("FL_POSTGRES_USER", "fl"),
    "PASSWORD": env.secret("FL_POSTGRES_PASSWD"),
    "OPTIONS": {"pool": True},
}
DATABASES = {"default": POSTGRES if POSTGRES_HOST else SQLITE}

MODEL_DIR = DATA_DIR / "models"
STORAGES = {
    "default": {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": MODEL_DIR},
    },
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
# Inside the storage folder, so that a finished file is moved there and not copied.
SCRATCH_DIR = MODEL_DIR / "scratch"
SCRATCH_DIR.mkdir(parents=True, exist_ok=True)

# --- Uploads -------------------------------------------------------------------------
FL_MAX_UPLOAD_BYTES = env.integer("FL_MAX_UPLOAD_BYTES", 4 * 1024**3, minimum=1)
FL_MODEL_CLASSES = env.items("FL_MODEL_CLASSES")  # "module:ClassName", beyond the list
FILE_UPLOAD_HANDLERS = ["django.core.files.uploadhandler.TemporaryFileUploadHandler"]
FILE_UPLOAD_TEMP_DIR = SCRATCH_DIR

# --- The API -------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
}
SPECTACULAR_SETTINGS: dict[str, Any] = {
    "TITLE": "Federated Learning Demonstrator Server API",
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
}

# --- Rounds and delivery -------------------------------------------------------------
FL_DEVICE = env.choice("FL_DEVICE", "auto", ("auto", "cpu", "cuda"))
FL_MERGE_LEASE_SECONDS = env.integer("FL_MERGE_LEASE_SECONDS", 60, minimum=5)
FL_MERGE_ATTEMPTS = env.integer("FL_MERGE_ATTEMPTS", 5, minimum=1)
FL_KEEP_UPDATE_ROUNDS = env.integer("FL_KEEP_UPDATE_ROUNDS", 0)
FL_NOTIFY_TIMEOUT_SECONDS = env.integer("FL_NOTIFY_TIMEOUT_SECONDS", 10, minimum=1)
FL_NOTIFY_RETRY_SECONDS = env.integer("FL_NOTIFY_RETRY_SECONDS", 2, minimum=1)

# --- Logs ----------------------------------------------------------------------------
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": env.text("FL_LOG_LEVEL", "INFO")},
}

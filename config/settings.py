"""All settings, read top to bottom from the environment. A missing secret stops the start and says what to set.

`CLIPLEDGER_ENV` is production unless said otherwise; `make run` says development and `make test` says test, and both
bring their own PostgreSQL and Valkey (see config/stack). Nothing here guesses from host names or arguments.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import environ
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured

from config import alerts, logs

BASE_DIR = Path(__file__).resolve().parent.parent
VAR_DIR = BASE_DIR / "var"
env = environ.Env()

CLIPLEDGER_ENV = env.str("CLIPLEDGER_ENV", default="production")
if CLIPLEDGER_ENV not in {"production", "development", "test"}:
    raise ImproperlyConfigured("CLIPLEDGER_ENV must be production, development or test.")
IS_PRODUCTION = CLIPLEDGER_ENV == "production"
IS_TEST = CLIPLEDGER_ENV == "test"


def required(name: str, hint: str, *, otherwise: str) -> str:
    """The variable, or in production a refusal to start; `otherwise` stands in on a developer's machine."""
    value = env.str(name, default="")
    if value:
        return value
    if IS_PRODUCTION:
        raise ImproperlyConfigured(f"{name} is not set. {hint}")
    return otherwise


DEBUG = env.bool("DEBUG", default=CLIPLEDGER_ENV == "development")
if IS_PRODUCTION and DEBUG:
    raise ImproperlyConfigured(
        "DEBUG shows settings and rows to every visitor: unset it, or leave production."
    )
SECRET_KEY = required(
    "SECRET_KEY",
    "Set it to 50 or more random characters, the same for every process: "
    "python3 -c 'import secrets; print(secrets.token_urlsafe(50))'.",
    otherwise="development-only-key-never-used-in-production-0123456789",
)
if IS_PRODUCTION and (len(SECRET_KEY) < 40 or len(set(SECRET_KEY)) < 10):
    raise ImproperlyConfigured(
        "SECRET_KEY can be guessed, and whoever has it can sign in as anybody: set 50 or more random characters."
    )
_hosts = required(
    "ALLOWED_HOSTS",
    "Set it to the host names people type, separated by commas: ALLOWED_HOSTS=video.example.com.",
    otherwise="localhost,127.0.0.1,[::1],testserver",
)
ALLOWED_HOSTS = [host.strip() for host in _hosts.split(",") if host.strip()]
SITE_URL = env.str("SITE_URL", default="").rstrip("/")
CSRF_TRUSTED_ORIGINS = [SITE_URL] if SITE_URL else []

# --- Database, broker, cache ------------------------------------------------------------------------------------
DATABASE_URL = required(
    "DATABASE_URL",
    "Set it to a PostgreSQL 15+ database: DATABASE_URL=postgres://user:password@host:5432/clipledger.",
    otherwise="postgres://nobody@127.0.0.1:1/no-database-run-make-run-or-set-DATABASE_URL",
)
REDIS_URL = required(
    "REDIS_URL",
    "Set it to a Valkey or Redis 7+ server: REDIS_URL=redis://:password@host:6379/0.",
    otherwise="redis://127.0.0.1:1/0",
)
_database: dict[str, Any] = env.db_url_config(DATABASE_URL)
if _database["ENGINE"] != "django.db.backends.postgresql":
    raise ImproperlyConfigured("DATABASE_URL must be postgres://...: the ledger relies on PostgreSQL.")
_database["CONN_MAX_AGE"] = 60
_database["CONN_HEALTH_CHECKS"] = True
_database.setdefault("OPTIONS", {})
_database["OPTIONS"].setdefault("connect_timeout", 5)
# A full queue on one hot wallet becomes a clean "busy", not a pile of waiting connections.
_database["OPTIONS"].setdefault(
    "options", "-c lock_timeout=5000 -c idle_in_transaction_session_timeout=60000"
)
DATABASES = {"default": _database}
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": "cl",
        "OPTIONS": {"socket_timeout": 2, "socket_connect_timeout": 2},
    }
}

# Redis/Valkey, or RabbitMQ 3.10+ (amqp://user:password@host:5672/vhost; more hosts behind semicolons).
CELERY_BROKER_URL = env.str("CELERY_BROKER_URL", default=REDIS_URL)
IS_RABBITMQ = CELERY_BROKER_URL.startswith("amqp")
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_TASK_SOFT_TIME_LIMIT = 540
CELERY_TASK_TIME_LIMIT = 600
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# How long bells may wait while a worker with hands free takes none, before it ends as deaf: see config/ears.py.
DEAF_SECONDS = env.float("DEAF_SECONDS", default=45)
CELERY_BROKER_CONNECTION_MAX_RETRIES = None  # a worker outlives its broker, however long that is away
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TASK_PUBLISH_RETRY = False
# A worker notices a broker that is gone without a word after two of these.
CELERY_BROKER_HEARTBEAT = 10
# On RabbitMQ both queues are replicated and survive a broker; nothing of ours uses Celery's delayed delivery.
QUEUE_ARGUMENTS = {"x-queue-type": "quorum"} if IS_RABBITMQ else None
CELERY_TASK_DEFAULT_QUEUE_TYPE = "quorum" if IS_RABBITMQ else "classic"
CELERY_BROKER_NATIVE_DELAYED_DELIVERY_QUEUE_TYPE = "classic"
CELERY_BROKER_TRANSPORT_OPTIONS: dict[str, Any] = (
    {"confirm_publish": True, "read_timeout": 10, "write_timeout": 10}
    if IS_RABBITMQ
    else {
        "visibility_timeout": 900,
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
        "socket_timeout": 5,
        "socket_connect_timeout": 2,
        "max_retries": 1,
    }
)
# A web request must never hang on the doorbell: no wait longer than a second, no retries; the sweep brings it back.
_once: dict[str, Any] = {"max_retries": 0, "interval_start": 0, "interval_step": 0, "interval_max": 0}
BELL_OPTIONS = (
    CELERY_BROKER_TRANSPORT_OPTIONS
    | _once
    | (
        {"read_timeout": 1, "write_timeout": 1}
        if IS_RABBITMQ
        else {"socket_timeout": 1, "socket_connect_timeout": 1}
    )
)
# How many clips one worker of the queue `clips` brings home at once.
INGEST_CONCURRENCY = env.int("INGEST_CONCURRENCY", default=4)

# Pages run on this many threads of each web process; live streams need none of them.
WEB_THREADS = env.int("WEB_THREADS", default=12)
# Clips have threads of their own where we serve them ourselves: a paused player holds one.
CLIP_THREADS = env.int("CLIP_THREADS", default=32)

# --- Applications -----------------------------------------------------------------------------------------------
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "django.contrib.postgres",
    "allauth",
    "allauth.account",
    "template_partials",
    "pgtrigger",
    "csp",
    "accounts",
    "generations",
]
MIDDLEWARE = [
    "config.middleware.request_id",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "config.middleware.htmx",
    "config.middleware.workspace",
]
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "accounts.context_processors.workspace",
                "generations.context_processors.simulation",
            ],
        },
    }
]
LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
USE_TZ = True
USE_THOUSAND_SEPARATOR = True
FORMAT_MODULE_PATH = ["config.formats"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- People -----------------------------------------------------------------------------------------------------
AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
ACCOUNT_ADAPTER = "accounts.adapters.InvitedOnlyAdapter"
ACCOUNT_FORMS = {
    "login": "accounts.forms.SignInForm",
    "change_password": "accounts.forms.PasswordChangeForm",
    "set_password": "accounts.forms.FirstPasswordForm",
    "reset_password": "accounts.forms.PasswordResetForm",
    "reset_password_from_key": "accounts.forms.NewPasswordForm",
}
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_EMAIL_UNKNOWN_ACCOUNTS = False  # a reset asked for a stranger's address mails nobody
ACCOUNT_EMAIL_SUBJECT_PREFIX = ""
ACCOUNT_LOGOUT_REDIRECT_URL = "account_login"
ACCOUNT_RATE_LIMITS = {
    "login": "30/m/ip",
    "login_failed": "10/m/ip,5/5m/key",
    "reset_password": "10/m/ip,3/m/key",
}
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "generations:studio"
INVITATION_DAYS = 7
EMAIL_CONFIG = env.email_url("EMAIL_URL", default="consolemail://")
vars().update(EMAIL_CONFIG)
EMAIL_TIMEOUT = 10  # a mail server that is down costs a request seconds, not minutes
DEFAULT_FROM_EMAIL = env.str("DEFAULT_FROM_EMAIL", default="Clipledger <clipledger@localhost>")

# --- Security ---------------------------------------------------------------------------------------------------
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = IS_PRODUCTION
SECURE_PROXY_SSL_HEADER = (
    ("HTTP_X_FORWARDED_PROTO", "https") if env.bool("BEHIND_PROXY", default=False) else None
)
# Failed sign-ins are counted per address: behind a proxy that is the one the proxy saw, not the proxy's own.
ALLAUTH_TRUSTED_PROXY_COUNT = 1 if env.bool("BEHIND_PROXY", default=False) else 0
SECURE_SSL_REDIRECT = env.bool("SECURE_SSL_REDIRECT", default=False)
# A balancer asks each host directly, without TLS.
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$", r"^metrics$"]
SECURE_HSTS_SECONDS = env.int("SECURE_HSTS_SECONDS", default=0)
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
DATA_UPLOAD_MAX_MEMORY_SIZE = 2_000_000
DATA_UPLOAD_MAX_NUMBER_FIELDS = 200
FILE_UPLOAD_MAX_MEMORY_SIZE = 2_500_000

# --- Media: private, ours ---------------------------------------------------------------------------------------
MEDIA_S3_BUCKET = env.str("MEDIA_S3_BUCKET", default="")
MEDIA_ROOT = Path(env.str("MEDIA_ROOT", default=str(VAR_DIR / CLIPLEDGER_ENV / "media")))
MEDIA_LINK_SECONDS = env.int("MEDIA_LINK_SECONDS", default=300)
_media_storage: dict[str, Any] = {"BACKEND": "django.core.files.storage.FileSystemStorage"}
_media_origins: list[str] = []
if MEDIA_S3_BUCKET:
    from boto3.s3.transfer import TransferConfig

    AWS_S3_ENDPOINT_URL = env.str("AWS_S3_ENDPOINT_URL", default=None)
    _media_storage = {
        "BACKEND": "storages.backends.s3.S3Storage",
        "OPTIONS": {
            "bucket_name": MEDIA_S3_BUCKET,
            "endpoint_url": AWS_S3_ENDPOINT_URL,
            "region_name": env.str("AWS_S3_REGION_NAME", default=env.str("AWS_REGION", default="us-east-1")),
            "default_acl": None,
            "querystring_auth": True,
            "querystring_expire": MEDIA_LINK_SECONDS,
            "file_overwrite": True,
            "signature_version": "s3v4",
            # One part of 8 MiB at a time: with threads, ten are held in memory.
            "transfer_config": TransferConfig(use_threads=False),
        },
    }
    _media_origins = [AWS_S3_ENDPOINT_URL or "https://*.amazonaws.com"]
_static_backend = (
    "whitenoise.storage.CompressedManifestStaticFilesStorage"
    if IS_PRODUCTION
    else "django.contrib.staticfiles.storage.StaticFilesStorage"
)
STORAGES = {"default": _media_storage, "staticfiles": {"BACKEND": _static_backend}}
STATIC_URL = "/static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_USE_FINDERS = WHITENOISE_AUTOREFRESH = not IS_PRODUCTION

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:", "blob:", *_media_origins],
        "media-src": [SELF, "blob:", *_media_origins],
        "connect-src": [SELF],
        "object-src": [NONE],
        "base-uri": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}

# --- fal --------------------------------------------------------------------------------------------------------
FAL_KEY = env.str("FAL_KEY", default="")
FAL_ADMIN_KEY = env.str("FAL_ADMIN_KEY", default="")
FAL_QUEUE_URL = env.str("FAL_QUEUE_URL", default="https://queue.fal.run").rstrip("/")
FAL_REST_URL = env.str("FAL_REST_URL", default="https://rest.fal.ai").rstrip("/")
FAL_CDN_URL = env.str("FAL_CDN_URL", default="https://v3.fal.media").rstrip("/")
FAL_PLATFORM_URL = env.str("FAL_PLATFORM_URL", default="https://api.fal.ai/v1").rstrip("/")
FAL_JWKS_URL = env.str("FAL_JWKS_URL", default="https://rest.fal.ai/.well-known/jwks.json")
FAL_WEBHOOK_BASE_URL = env.str("FAL_WEBHOOK_BASE_URL", default="").rstrip("/")
FAL_WEBHOOK_USER_ID = env.str("FAL_WEBHOOK_USER_ID", default="")
FAL_IS_SANDBOX = env.bool("FAL_IS_SANDBOX", default=False)
FAL_CONCURRENCY = env.int("FAL_CONCURRENCY", default=2)
# How many more than fal runs at once may wait in fal's queue, so that a slot never stands empty.
FAL_LEAD = env.int("FAL_LEAD", default=2)
FAL_MAX_ATTEMPTS = env.int("FAL_MAX_ATTEMPTS", default=3)
FAL_INPUT_SECONDS = env.int("FAL_INPUT_SECONDS", default=86_400)
FAL_OUTPUT_SECONDS = env.int("FAL_OUTPUT_SECONDS", default=86_400)
FAL_START_TIMEOUT_SECONDS = env.int("FAL_START_TIMEOUT_SECONDS", default=7_200)
FAL_POLLS_PER_SECOND = env.int("FAL_POLLS_PER_SECOND", default=50)
FAL_STREAM_LIMIT = env.int("FAL_STREAM_LIMIT", default=500)
# Hosts a clip may be fetched from, besides those of the URLs above; fal answers with links on its own CDN.
FAL_MEDIA_HOSTS = env.list(
    "FAL_MEDIA_HOSTS", default=["fal.media", "fal.ai", "fal.run", "storage.googleapis.com"]
)
SUBMIT_READ_TIMEOUT_SECONDS = env.float("SUBMIT_READ_TIMEOUT_SECONDS", default=60)

# --- Credits and limits -----------------------------------------------------------------------------------------
CREDITS_PER_USD = env.int("CREDITS_PER_USD", default=100)
MAX_PICTURE_BYTES = env.int("MAX_PICTURE_BYTES", default=30_000_000)
MAX_CLIP_BYTES = env.int("MAX_CLIP_BYTES", default=600_000_000)
LOST_AFTER_SECONDS = env.int("LOST_AFTER_SECONDS", default=180)
# A lost attempt that neither a webhook nor fal's history explains is given up, released and listed after this long.
LOST_DEADLINE_SECONDS = env.int("LOST_DEADLINE_SECONDS", default=14_400)
# How long a clip that fal made after all is offered to whoever had asked for it.
LATE_OFFER_DAYS = env.int("LATE_OFFER_DAYS", default=7)
# How long fal may stay out of reach (no network, 429, storage full) before a generation is given up and released.
PATIENCE_SECONDS = env.int("PATIENCE_SECONDS", default=86_400)
RETRY_SECONDS = env.float("RETRY_SECONDS", default=5)
PAUSE_PROBE_SECONDS = env.float("PAUSE_PROBE_SECONDS", default=60)
# So many failures of fal's in a row, on one engine and within the window, stop the sending to that engine; then one
# generation at a time tests it, first after BREAKER_PROBE_SECONDS, in the end every twenty times as long.
BREAKER_FAILURES = env.int("BREAKER_FAILURES", default=5)
BREAKER_WINDOW_SECONDS = env.float("BREAKER_WINDOW_SECONDS", default=600)
BREAKER_PROBE_SECONDS = env.float("BREAKER_PROBE_SECONDS", default=30)
LEASE_SECONDS = env.int("LEASE_SECONDS", default=20)
SWEEP_SECONDS = env.int("SWEEP_SECONDS", default=15)
ALERTS = alerts.rules(env)

# --- The book's signed heads (accounts/ledger/heads.py) ------------------------------------------------------------
# 32 random bytes in hexadecimal; without it the key follows from SECRET_KEY, and changes with it.
_signing_key = env.str("LEDGER_SIGNING_KEY", default="")
if _signing_key and not re.fullmatch("[0-9a-fA-F]{64}", _signing_key):
    raise ImproperlyConfigured(
        "LEDGER_SIGNING_KEY must be 64 hexadecimal digits: python3 -c 'import secrets; print(secrets.token_hex(32))'."
    )
LEDGER_SIGNING_KEY = bytes.fromhex(_signing_key)
# Where they go every day, out of reach of whoever can write to the database: a directory, people, or both.
LEDGER_HEADS_DIRECTORY = env.str("LEDGER_HEADS_DIRECTORY", default="")
LEDGER_HEADS_MAIL = env.list("LEDGER_HEADS_MAIL", default=[])

# --- Seen from outside ------------------------------------------------------------------------------------------
# Who may read /metrics: whoever sends this as a bearer token; without one, only this machine itself.
METRICS_TOKEN = env.str("METRICS_TOKEN", default="")
LOG_FORMAT = env.str("LOG_FORMAT", default="json" if IS_PRODUCTION else "text")
if LOG_FORMAT not in {"json", "text"}:
    raise ImproperlyConfigured("LOG_FORMAT must be json (one object a line) or text.")
LOGGING = logs.configuration(
    LOG_FORMAT,
    level=env.str("LOG_LEVEL", default="INFO"),
    requests_level="INFO" if IS_PRODUCTION else "WARNING",
)
SENTRY_DSN = env.str("SENTRY_DSN", default="")
if SENTRY_DSN:
    from config import sentry

    sentry.start(SENTRY_DSN, environment=env.str("SENTRY_ENVIRONMENT", default=CLIPLEDGER_ENV))
# Traces to a collector of OpenTelemetry; its other variables are read by its own library.
IS_TRACED = bool(env.str("OTEL_EXPORTER_OTLP_ENDPOINT", default=""))
if IS_TRACED:
    from config import tracing

    tracing.start()
if IS_TEST:
    PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"

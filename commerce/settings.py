"""Every setting, and every environment variable declared once.

A variable that is missing or makes no sense stops the program here, with a sentence that names it.
"""

import ipaddress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import django_stubs_ext
import environ
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured

from commerce import VERSION

django_stubs_ext.monkeypatch()

BASE_DIR = Path(__file__).resolve().parent.parent
VAR_DIR = BASE_DIR / "var"

DEVELOPMENT_SECRET_KEY = "development-only-never-in-production"  # noqa: S105
DEVELOPMENT_ENCRYPTION_KEY = "ZGV2ZWxvcG1lbnQtb25seS1uZXZlci1pbi1wcm9kISE="

env = environ.Env(
    DEBUG=(bool, False),
    SECRET_KEY=(str, ""),
    ENCRYPTION_KEYS=(list, []),
    ALLOWED_HOSTS=(list, []),
    BASE_URL=(str, "http://localhost:8000"),
    EMAIL_URL=(str, "consolemail://"),
    WEBHOOK_ALLOWED_NETWORKS=(list, []),
    THROTTLE_PUBLIC=(str, "60/min"),
    THROTTLE_TOKEN=(str, "600/min"),
    WORKERS=(int, 2),
    LOG_FORMAT=(str, "text"),
)
environ.Env.read_env(BASE_DIR / ".env")


def _refuse(name: str, must: str) -> ImproperlyConfigured:
    return ImproperlyConfigured(f"The environment variable {name} {must}")


def _read_bool(name: str) -> bool:
    text = env.str(name, default="").strip().lower()
    if text not in {"", "true", "false", "1", "0", "yes", "no", "on", "off"}:
        raise _refuse(name, f"must be true or false, not {text!r}.")
    return text in {"true", "1", "yes", "on"}


def _read_secret_key(*, debug: bool) -> str:
    key: str = env("SECRET_KEY")
    if debug:
        return key or DEVELOPMENT_SECRET_KEY
    if not key or key == DEVELOPMENT_SECRET_KEY or len(key) < 32:
        raise _refuse("SECRET_KEY", "must be a random text of 32 characters or more when DEBUG is false.")
    return key


def _read_encryption_keys(*, debug: bool) -> list[str]:
    from cryptography.fernet import Fernet

    keys = env("ENCRYPTION_KEYS") or ([DEVELOPMENT_ENCRYPTION_KEY] if debug else [])
    if not keys or (not debug and DEVELOPMENT_ENCRYPTION_KEY in keys):
        raise _refuse("ENCRYPTION_KEYS", "must list at least one Fernet key of your own when DEBUG is false.")
    for key in keys:
        try:
            Fernet(key)
        except ValueError:
            raise _refuse("ENCRYPTION_KEYS", "must be Fernet keys (32 bytes in URL-safe base64).") from None
    return keys


def _read_base_url() -> str:
    url: str = env("BASE_URL").rstrip("/")
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise _refuse("BASE_URL", f"must be an http or https address, not {url!r}.")
    return url


def _read_networks() -> list[str]:
    networks = [network.strip() for network in env("WEBHOOK_ALLOWED_NETWORKS")]
    for network in networks:
        try:
            ipaddress.ip_network(network)
        except ValueError as error:
            raise _refuse("WEBHOOK_ALLOWED_NETWORKS", f"must list networks such as 10.0.0.0/8: {error}.") from None
    return networks


def _read_hosts() -> list[str]:
    hosts = [host.strip() for host in env("ALLOWED_HOSTS")]
    for host in hosts:
        if not host or set(host) & set("/ @?#"):
            raise _refuse("ALLOWED_HOSTS", f"must list host names such as shop.example, not {host!r}.")
    return hosts


def _read_rate(name: str) -> str | None:
    """`600/min`, or None (no limit) for an empty value."""
    rate = env(name).strip()
    count, slash, period = rate.partition("/")
    if rate and not (count.isdecimal() and int(count) > 0 and slash and period[:1] in {"s", "m", "h", "d"}):
        raise _refuse(name, f"must look like 600/min or be empty, not {rate!r}.")
    return rate or None


def _read_workers() -> int:
    text = env.str("WORKERS", default="2")
    if not text.isdecimal() or not 1 <= int(text) <= 64:
        raise _refuse("WORKERS", f"must be a number from 1 to 64, not {text!r}.")
    return int(text)


def _read_choice(name: str, choices: set[str]) -> str:
    value: str = env(name)
    if value not in choices:
        raise _refuse(name, f"must be one of {', '.join(sorted(choices))}, not {value!r}.")
    return value


def _read_database() -> dict[str, Any]:
    default = f"sqlite:///{VAR_DIR / 'commerce.sqlite3'}"
    scheme = env.str("DATABASE_URL", default=default).partition("://")[0]
    if scheme not in {"sqlite", "postgres", "postgresql"}:
        raise _refuse("DATABASE_URL", f"must begin with sqlite:// or postgres://, not {scheme!r}.")
    try:
        database: dict[str, Any] = env.db_url("DATABASE_URL", default=default)
        if scheme == "sqlite":
            Path(database["NAME"]).parent.mkdir(parents=True, exist_ok=True)
    except (ValueError, OSError) as error:
        raise _refuse("DATABASE_URL", f"must be an address that can be used: {error}.") from None
    # Opening a connection costs more than most requests do.
    kept: dict[str, Any] = {"CONN_MAX_AGE": 60, "CONN_HEALTH_CHECKS": True}
    if scheme == "sqlite":
        options = {
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
        }
        kept["ENGINE"] = "commerce.sqlite"
    else:
        # The server parses and plans what it has seen five times no more.
        options = {"server_side_binding": True, "prepare_threshold": 5}
        kept["ENGINE"] = "commerce.postgresql"
    return database | kept | {"OPTIONS": options | database.get("OPTIONS", {})}


def _read_email() -> dict[str, Any]:
    try:
        email: dict[str, Any] = env.email_url("EMAIL_URL")
    except (ImproperlyConfigured, KeyError, ValueError):
        raise _refuse("EMAIL_URL", "must be a mail address such as smtp+tls://user:password@host:587.") from None
    return email


def _read_sender(email: dict[str, Any]) -> str:
    """Who mails are from: whom the mail server knows us as, or else somebody at our own address."""
    user: str = email.get("EMAIL_HOST_USER") or ""
    return user if "@" in user else f"commerce-engine@{urlsplit(BASE_URL).hostname}"


DEBUG = _read_bool("DEBUG")
SECRET_KEY = _read_secret_key(debug=DEBUG)
ENCRYPTION_KEYS = _read_encryption_keys(debug=DEBUG)
BASE_URL = _read_base_url()
_OWN_HOSTS = [str(urlsplit(BASE_URL).hostname), "localhost", "127.0.0.1", "[::1]"]
ALLOWED_HOSTS = _read_hosts() or (["*"] if DEBUG else _OWN_HOSTS)
WEBHOOK_ALLOWED_NETWORKS = _read_networks()
WORKERS = _read_workers()
LOG_FORMAT = _read_choice("LOG_FORMAT", {"text", "json"})

DATABASES = {"default": _read_database()}
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
        # What another release has kept may be of another shape.
        "KEY_PREFIX": VERSION,
        "OPTIONS": {"MAX_ENTRIES": 5_000},
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
_EMAIL = _read_email()
vars().update(_EMAIL)
DEFAULT_FROM_EMAIL = SERVER_EMAIL = _read_sender(_EMAIL)
EMAIL_TIMEOUT = 10

INSTALLED_APPS = [
    "commerce.apps.CommerceConfig",
    "orders.apps.OrdersConfig",
    "inventory.apps.InventoryConfig",
    "webhooks.apps.WebhooksConfig",
    "commerce.apps.SiteConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "rest_framework_api_key",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "drf_standardized_errors",
    "django_q",
    "import_export",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "commerce.visitors.CSPMiddleware",
    "commerce.intake.IntakeMiddleware",
    "commerce.visitors.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "commerce.visitors.AuthenticationMiddleware",
    "commerce.visitors.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "commerce.idempotency.IdempotencyMiddleware",
]

ROOT_URLCONF = "commerce.urls"
WSGI_APPLICATION = "commerce.wsgi.application"
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
            ],
        },
    },
]

USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"
STATIC_URL = "static/"
STATIC_ROOT = VAR_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "templates" / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}
WHITENOISE_USE_FINDERS = DEBUG
WHITENOISE_AUTOREFRESH = DEBUG

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LOGIN_URL = "admin:login"

_SERVED_BY_TLS = BASE_URL.startswith("https://")
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _SERVED_BY_TLS
SECURE_SSL_REDIRECT = _SERVED_BY_TLS and not DEBUG
# Probes come from within, and take a redirect for an answer.
SECURE_REDIRECT_EXEMPT = ["^healthz$", "^readyz$"]
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_HSTS_SECONDS = 31_536_000 if _SERVED_BY_TLS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = _SERVED_BY_TLS
CSRF_TRUSTED_ORIGINS = [BASE_URL]
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "img-src": [SELF, "data:"],
        "object-src": [NONE],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
    }
}
# A form of the API refuses a larger body before it is read into memory.
DATA_UPLOAD_MAX_MEMORY_SIZE = 1_048_576

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["commerce.tokens.TokenAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["commerce.tokens.HasScope"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["commerce.parsers.JSONParser"],
    "DEFAULT_SCHEMA_CLASS": "commerce.openapi.Schema",
    "DEFAULT_FILTER_BACKENDS": ["commerce.filters.KnownFilters"],
    "DEFAULT_PAGINATION_CLASS": "commerce.paging.NewestFirst",
    "DEFAULT_THROTTLE_CLASSES": ["commerce.tokens.TokenThrottle", "commerce.tokens.PublicThrottle"],
    "DEFAULT_THROTTLE_RATES": {"token": _read_rate("THROTTLE_TOKEN"), "public": _read_rate("THROTTLE_PUBLIC")},
    "EXCEPTION_HANDLER": "commerce.problems.exception_handler",
    # The server has already put the client's address in REMOTE_ADDR; a header of the caller's own is not believed.
    "NUM_PROXIES": 0,
    "DATETIME_FORMAT": "%Y-%m-%dT%H:%M:%S.%fZ",
    "UNAUTHENTICATED_USER": None,
    "COERCE_DECIMAL_TO_STRING": True,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Commerce Engine",
    "VERSION": VERSION,
    "OAS_VERSION": "3.1.1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "ENUM_NAME_OVERRIDES": {
        "SubscriptionState": "webhooks.models.Subscription.State",
        "DeliveryState": "webhooks.models.Delivery.State",
        "PaymentKind": "orders.models.Payment.Kind",
        "HoldKind": "orders.models.hold.HoldKind",
        "ReplayKind": "webhooks.models.Replay.Kind",
    },
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "commerce.openapi.add_problems",
        "commerce.openapi.add_webhooks",
    ],
}

WEBHOOK_USER_AGENT = f"CommerceEngine/{VERSION}"

# django-q2's own defaults send a task again while it still runs, and keep failures on the queue for ever.
Q_CLUSTER = {
    "name": "commerce",
    "orm": "default",
    "broker_class": "webhooks.broker.InstantBroker",
    "workers": WORKERS,
    "timeout": 60,
    "retry": 120,
    "max_attempts": 1,
    "ack_failures": True,
    "save_limit": -1,
    "poll": 0.05,
    # One task waits for the workers at most; further wake-ups stay in the database, where many are one.
    "queue_limit": 1,
    "recycle": 5_000,
    "catch_up": False,
    "label": "Queue",
    "log_level": "WARNING",
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "text": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"},
        "json": {"()": "commerce.logs.JsonFormatter"},
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": LOG_FORMAT}},
    "root": {"handlers": ["console"], "level": "INFO"},
    "loggers": {
        # Django's own handlers would print each line a second time.
        "django": {"handlers": []},
        # A refused request is the caller's affair, and stands in the answer.
        "django.request": {"level": "ERROR"},
        "django.server": {"level": "WARNING"},
        "django-q": {"handlers": ["console"], "level": "WARNING", "propagate": False},
        # What a receiver answers stands in the log of its attempts; here it could write as much as it likes.
        "urllib3": {"level": "ERROR"},
    },
}

"""The configuration: one frozen Struct, read from the environment once, every finding at once."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, get_args

import msgspec

from integrations.stripe_billing import keys
from policies import limits

Durability = Literal["standard", "strict", "lossy"]


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """What an instance needs to know.

    Every field `name` is read from METERGATE_NAME, or from the file that METERGATE_NAME_FILE names. When both
    are set, the file wins.
    """

    database_url: str
    redis_url: str
    """Of a cluster one node or several, with commas between them: whoever answers names the others."""
    redis_cluster: bool = False
    """Redis is a cluster: shards are on several nodes, and move."""
    durability: Durability = "standard"
    """After what an acknowledgement goes out: the journal is on disk, Postgres has it, or neither."""
    accept_lost_usage: bool = False
    """`lossy` starts with this alone: it loses acknowledged usage, and is there to show that tests notice."""
    redis_replicas: int = 0
    """How many replicas must have what is acknowledged, so that a failover loses none of it."""
    embedded: bool = False
    """The servers are private ones under our supervisor: their death is the end of this process."""
    redis_config_forbidden: bool = False
    """A managed Redis that refuses CONFIG: its settings cannot be verified, which you answer for."""
    postgres_connections: int = 8
    decision_log_sample: int = 100
    """Of allows one in so many is kept in the decision log; 1 keeps all, 0 none."""
    stripe_key: str = ""
    """Without one nothing is charged: billing stops at our own invoices."""
    stripe_address: str = keys.ADDRESS
    """Of the API; with a test key it may be a simulator on this machine."""
    stripe_webhook_secret: str = ""
    """Without one nothing is told to us, and what happens there is learnt by asking."""
    stripe_webhook_secret_previous: str = ""
    """Still taken, while the secret is being changed."""
    billing_folder: str = ""
    """A folder that is told what is to be collected, and where receipts are put, in place of Stripe."""
    test_clock: bool = False
    """The service's clock may be moved; refused with a live key (R41)."""
    invoice_grace_minutes: int = 60
    """How long after its end a billing period stays open for events that come late; at least 5."""
    reconcile_apply: Literal["off", "safe"] = "off"
    """Whether a worker does by itself what a plan says that a machine may do."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"


class ConfigError(Exception):
    """The environment does not describe an instance; `findings` names every variable that is wrong."""

    def __init__(self, findings: list[str]) -> None:
        super().__init__("; ".join(findings))
        self.findings = findings


class _WrongError(Exception):
    """One finding."""


REQUIRED = ("database_url", "redis_url")
_NUMBER = re.compile("[1-9][0-9]{0,3}")
_OR_NONE = {"METERGATE_DECISION_LOG_SAMPLE", "METERGATE_REDIS_REPLICAS"}
"""Numbers that may be 0."""
_STRIPE: Final = ("stripe_address", "stripe_webhook_secret", "stripe_webhook_secret_previous")
_TRUE, _FALSE = ("1", "true", "yes"), ("0", "false", "no", "")


def read(environment: Mapping[str, str] | None = None) -> Config:
    """The configuration of this process.

    Errors: ConfigError with all findings.
    """
    environment = os.environ if environment is None else environment
    findings: list[str] = []
    values: dict[str, object] = {}
    for field in msgspec.structs.fields(Config):
        variable = f"METERGATE_{field.name.upper()}"
        try:
            text = _text(environment, variable)
            if text:
                values[field.name] = _value(variable, text, field.type)
            elif field.name in REQUIRED:
                findings.append(f"{variable} is not set")
        except _WrongError as error:
            findings.append(str(error))
    findings += _wrong_scheme(values)
    findings += _wrong_payments(values)
    least = limits.CLOSE_GRACE_LEAST_S // 60
    if int(str(values.get("invoice_grace_minutes", least))) < least:
        findings.append(f"METERGATE_INVOICE_GRACE_MINUTES is to be {least} or more")
    if values.get("durability") == "lossy" and not values.get("accept_lost_usage"):
        findings.append(
            "METERGATE_DURABILITY is lossy, which loses acknowledged usage when a process is killed; it is "
            "for tests, and starts with METERGATE_ACCEPT_LOST_USAGE=1 alone"
        )
    if findings:
        raise ConfigError(findings)
    return msgspec.convert(values, Config)


def _text(environment: Mapping[str, str], variable: str) -> str | None:
    if path := environment.get(f"{variable}_FILE"):
        try:
            return Path(path).read_text(encoding="utf-8").strip()
        except UnicodeDecodeError as error:
            raise _WrongError(f"{variable}_FILE names {path}, which is no text in UTF-8") from error
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise _WrongError(f"{variable}_FILE names {path}, which cannot be read: {why}") from error
    return environment.get(variable)


def _value(variable: str, text: str, kind: object) -> object:
    if kind is str:
        return text
    if kind is bool:
        if text.lower() not in _TRUE + _FALSE:
            raise _WrongError(f"{variable} is to be 1 or 0, not `{text}`")
        return text.lower() in _TRUE
    if kind is int:
        least = 0 if variable in _OR_NONE else 1
        if not _NUMBER.fullmatch(text) and not (least == 0 and text == "0"):
            raise _WrongError(f"{variable} is to be a whole number from {least} to 9999, not `{text}`")
        return int(text)
    if text not in get_args(kind):
        raise _WrongError(f"{variable} is to be one of {', '.join(get_args(kind))}, not `{text}`")
    return text


def _wrong_scheme(values: Mapping[str, object]) -> list[str]:
    findings = []
    database, redis = str(values.get("database_url", "")), str(values.get("redis_url", ""))
    if database and "://" in database and not database.startswith(("postgresql://", "postgres://")):
        findings.append("METERGATE_DATABASE_URL is not a postgresql:// address")
    several = bool(values.get("redis_cluster"))
    schemes = ("redis://", "rediss://") if several else ("redis://", "rediss://", "unix://")
    if redis and not all(url.startswith(schemes) for url in (redis.split(",") if several else [redis])):
        kinds = " or ".join((", ".join(schemes[:-1]), schemes[-1]))
        of_all = " of each node, with commas between them" if several else ""
        findings.append(f"METERGATE_REDIS_URL is not a {kinds} address{of_all}")
    return findings


def _wrong_payments(values: Mapping[str, object]) -> list[str]:
    key = str(values.get("stripe_key", ""))
    if key and values.get("billing_folder"):
        return [
            "METERGATE_BILLING_FOLDER and METERGATE_STRIPE_KEY name two payment providers; set one of them"
        ]
    given = [name for name in _STRIPE if values.get(name)]
    if not key:
        names = " and ".join(f"METERGATE_{name.upper()}" for name in given)
        return [f"{names} without METERGATE_STRIPE_KEY means nothing"] if given else []
    secrets = tuple(str(values.get(name, "")) for name in _STRIPE[1:])
    address = str(values.get("stripe_address", keys.ADDRESS))
    return keys.wrong(key, address, secrets, test_clock=bool(values.get("test_clock")))


def masked(url: str) -> str:
    """A server's address with its password blotted out, for people to read."""
    if "," in url:
        return ",".join(map(masked, url.split(",")))
    head, at, tail = url.rpartition("@")
    scheme, slashes, login = head.partition("://")
    return f"{scheme}{slashes}{login.split(':')[0]}:***@{tail}" if at else url

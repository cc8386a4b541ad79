"""Is this Redis or Valkey fit to keep acknowledged usage? What is wrong with it, in sentences."""

from collections.abc import Mapping

SETTINGS = {
    "appendonly": "yes",
    "appendfsync": "always",
    "maxmemory-policy": "noeviction",
    "no-appendfsync-on-rewrite": "no",
}
"""What `standard` durability needs. `everysec` loses acknowledged writes on a plain kill."""

_FOR_DISK = {"appendfsync", "no-appendfsync-on-rewrite"}

# The first version of each line without the known faults (torn scripts, remote code execution through Lua).
_VALKEY = {8: (8, 1, 10), 9: (9, 1, 2)}
_REDIS = {7: (7, 2, 11), 8: (8, 2, 2)}


def findings(
    info: Mapping[str, str],
    settings: Mapping[str, str] | None,
    *,
    lossy: bool = False,
    cluster: bool = False,
) -> list[str]:
    """What makes the server unfit; empty when it is fit.

    `settings` None: it may not be asked. `lossy`: nothing is promised, so it need not wait for its disk.
    `cluster`: it is taken for a node of one.
    """
    found = _mode_findings(info, cluster=cluster)
    for name, wanted in SETTINGS.items() if settings is not None else ():
        value = (settings or {}).get(name)
        if value != wanted and not (lossy and name in _FOR_DISK):
            found.append(f"`{name}` is `{value}`; acknowledged usage needs `{wanted}`")
    return found + _version_findings(info)


def _mode_findings(info: Mapping[str, str], *, cluster: bool) -> list[str]:
    """A server by itself has every shard, a node of a cluster some: taking one for the other loses others."""
    mode = info.get("server_mode") or info.get("redis_mode", "")
    if mode == "cluster" and not cluster:
        return ["it is a node of a cluster; set METERGATE_REDIS_CLUSTER=1"]
    if mode != "cluster" and cluster:
        return ["it is no node of a cluster, and METERGATE_REDIS_CLUSTER is set"]
    return []


def _version_findings(info: Mapping[str, str]) -> list[str]:
    name, key, lines = ("Valkey", "valkey_version", _VALKEY)
    if key not in info:
        name, key, lines = ("Redis", "redis_version", _REDIS)
    text = info.get(key, "0")
    version = tuple(int(part) for part in text.split(".")[:3] if part.isdigit())
    least = lines.get(version[0] if version else 0)
    if least is None and version and version[0] > max(lines):
        return []
    if least is None or version < least:
        wanted = " or ".join(".".join(map(str, line)) for line in lines.values())
        return [f"{name} {text} has known faults; use {wanted} or later"]
    return []


def parse_info(text: str) -> dict[str, str]:
    """The fields of an INFO reply."""
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)

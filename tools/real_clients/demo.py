"""The demo that a client runs against, and what happens to it before a turn."""

import contextlib
import dataclasses
import http.client
import json
import os
import pathlib
import re
import socket
import subprocess
from collections.abc import Callable

from .clients import Client, Place

COMMAND_TIMEOUT_S = 20


@dataclasses.dataclass(frozen=True)
class Account:
    name: str
    kind: str


OVERLAY = """
[providers.google]
base_url = "{simulator}/v1beta"
[providers.kimi-code]
base_url = "{simulator}/coding/v1"
oauth.token_url = "{simulator}/api/oauth/token"
usage.url = "{simulator}/coding/v1/usages"
[providers.openai-codex]
base_url = "{simulator}/backend-api"
oauth.token_url = "{simulator}/oauth/token"
usage.url = "{simulator}/backend-api/wham/usage"
"""


class Demo:
    """A demo of our own, with two accounts for every provider. It ends with the `with` block."""

    def __init__(self, binary: pathlib.Path, folder: pathlib.Path):
        self.binary = binary
        self.env = {"HOME": str(folder), "TMPDIR": str(folder), "PATH": os.environ.get("PATH", os.defpath)}
        self.accounts: dict[str, list[Account]] = {}

    def __enter__(self) -> "Demo":
        printed = self.claviger("up", "--demo", "--detach", "--listen", f"127.0.0.1:{free_port()}")
        self.env |= dict(re.findall(r"(CLAVIGER_(?:HOME|CONFIG))=(\S+)", printed))
        try:
            self.gateway = str(re.findall(r"^gateway +http://(\S+)", printed, re.M)[0])
            self.simulator = str(re.findall(r"^simulator +http://(\S+)", printed, re.M)[0])
            self._add_accounts()
            key = json.loads(self.claviger("key", "create", "--label", "real-clients", "--json"))
            self.key, self.key_id = str(key["key"]), str(key["id"])
        except BaseException:
            self.claviger("down")
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.claviger("down")

    def _add_accounts(self) -> None:
        overlay = pathlib.Path(self.env["CLAVIGER_CONFIG"]).parent / "providers.d/real-clients.toml"
        overlay.write_text(OVERLAY.format(simulator=f"http://{self.simulator}"))
        self.claviger("config", "reload")
        self._add_key("openai", 2)
        for provider in ("google", "kimi-code"):
            self._add_key(provider, 1)
            self._add_key(provider, 2)
        for number in (1, 2):
            login = self.simulate("login", account=f"codex-{number}@example.com")
            fields = {"access": login["access"], "refresh": login["refresh"], "expires": login["expires_at_ms"]}
            stored = {"type": "oauth", "accountId": f"acct-{number}", "email": login["account"], **fields}
            self.claviger("account", "add", "openai-codex", "--from-json", "-", given=json.dumps(stored))
        for account in json.loads(self.claviger("account", "list", "--json"))["accounts"]:
            name = account["identity"].get("email") or account["label"]
            self.accounts.setdefault(account["provider"], []).append(Account(name, account["kind"]))

    def _add_key(self, provider: str, number: int) -> None:
        account, key = f"{provider}-{number}@example.com", f"sk-sim-{provider}-{number}"
        self.simulate("key", account=account, key=key)
        self.claviger("login", provider, "--with-key", "--label", account, given=key)

    def claviger(self, *arguments: str, given: str = "") -> str:
        command = [str(self.binary), *arguments]
        done = subprocess.run(command, input=given, env=self.env, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, check=False)
        if done.returncode:
            raise SystemExit(f"claviger {' '.join(arguments)} ended with {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def simulate(self, verb: str, **fields: object) -> dict:
        return json.loads(fetch(self.simulator, "POST", f"/__simulator/{verb}", json.dumps(fields)))

    def ledger(self) -> str:
        return fetch(self.simulator, "GET", "/__simulator/ledger?full=1")


def fetch(address: str, method: str, path: str, body: str | None = None) -> str:
    connection = http.client.HTTPConnection(address, timeout=COMMAND_TIMEOUT_S)
    with contextlib.closing(connection):
        connection.request(method, path, body)
        answer = connection.getresponse()
        text = answer.read().decode()
        if answer.status != 200:
            raise SystemExit(f"{method} {path}: {answer.status} {text}")
        return text


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclasses.dataclass(frozen=True)
class Case:
    """What happens before a turn."""

    prepare: Callable[[Demo, Client, Place], None]
    # Whether the client must answer.
    answered: bool = False
    # Whether it must not even see a failure.
    hidden: bool = False
    # Statuses of the provider without which the case did not happen.
    needs: frozenset[int] = frozenset()
    # Only for clients that ask a program for the key.
    for_helpers: bool = False


def everything_is_fine(demo: Demo, client: Client, place: Place) -> None:
    """Nothing is done."""


def tokens_expire(demo: Demo, client: Client, place: Place) -> None:
    """Access tokens die at the provider before their time. A key cannot: it is refused once instead."""
    accounts = demo.accounts[client.provider]
    for account in accounts:
        if account.kind == "oauth":
            demo.simulate("expire", account=account.name)
    if all(account.kind == "api_key" for account in accounts):
        demo.simulate("fault", llm="unauthorized")


def one_quota_ends(demo: Demo, client: Client, place: Place) -> None:
    """Whichever account is asked next has used up its quota."""
    demo.simulate("fault", llm={"quota_exhausted": {"reset_in_s": 3600}})


def all_quotas_end(demo: Demo, client: Client, place: Place) -> None:
    for account in demo.accounts[client.provider]:
        demo.simulate("quota", account=account.name)


def the_stream_breaks(demo: Demo, client: Client, place: Place) -> None:
    """The next stream is cut after a part of its text."""
    for _ in range(client.at_once):
        demo.simulate("fault", llm={"drop_mid_stream": {"after_events": 1 if client.provider == "google" else 5}})


def the_key_is_revoked(demo: Demo, client: Client, place: Place) -> None:
    demo.claviger("key", "revoke", demo.key_id)


def the_key_is_rotated(demo: Demo, client: Client, place: Place) -> None:
    """The helper's first word is a key that was revoked meanwhile, its second the new one."""
    old = json.loads(demo.claviger("key", "create", "--json"))
    demo.claviger("key", "revoke", old["id"])
    place.write("key-helper.first", old["key"] + "\n")


CASES = {
    "plain": Case(everything_is_fine, answered=True, hidden=True),
    "expired": Case(tokens_expire, answered=True, hidden=True, needs=frozenset({401})),
    "quota-one": Case(one_quota_ends, answered=True, hidden=True, needs=frozenset({429})),
    "quota-all": Case(all_quotas_end),
    "cut": Case(the_stream_breaks),
    "key-revoked": Case(the_key_is_revoked),
    "key-rotated": Case(the_key_is_rotated, answered=True, for_helpers=True),
}

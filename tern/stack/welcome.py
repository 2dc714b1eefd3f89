"""What a first-time user needs: the keys in a private file, and lines to paste."""

from __future__ import annotations

from rich.console import Console
from rich.syntax import Syntax

from tern.stack.home import Home, write_private

CURL = """\
curl {base_url}/chat/completions -H "Authorization: Bearer $OPENAI_API_KEY" \\
  -H "Content-Type: application/json" \\
  -d '{{"model": "{model}", "messages": [{{"role": "user", "content": "Tell me about the weather."}}]}}'"""

PYTHON = """\
from openai import OpenAI

client = OpenAI()  # reads OPENAI_BASE_URL and OPENAI_API_KEY
question = [{{"role": "user", "content": "Tell me about the weather."}}]
print(client.chat.completions.create(model="{model}", messages=question).choices[0].message.content)"""


def write_env(home: Home, base_url: str, api_key: str, admin_key: str) -> None:
    """`.tern/env`, readable by its owner alone; `set -a; . .tern/env` makes any OpenAI client work."""
    lines = {"OPENAI_BASE_URL": base_url, "OPENAI_API_KEY": api_key, "OPENAI_ADMIN_KEY": admin_key}
    write_private(home.env_path, "".join(f"{name}={value}\n" for name, value in lines.items()))


def read_env(home: Home) -> dict[str, str]:
    if not home.env_path.exists():
        return {}
    pairs = (line.partition("=") for line in home.env_path.read_text().splitlines() if "=" in line)
    return {name: value for name, _, value in pairs}


def welcome(console: Console, home: Home, base_url: str, model: str, seconds: float) -> None:
    console.print(f"\n[bold green]Tern is up[/] after {seconds:.1f} s on [bold]{base_url}[/]  (Ctrl-C stops it)\n")
    console.print(f"In another terminal:\n\n  set -a; . {home.env_path}; set +a\n")
    for language, text in (("bash", CURL), ("python", PYTHON)):
        snippet = text.format(base_url=base_url, model=model)
        console.print(Syntax(snippet, language, background_color="default", word_wrap=False), soft_wrap=True)
        console.print()
    console.print(f"Or: [bold].venv/bin/tern chat[/], [bold].venv/bin/tern usage[/]. Logs: {home.log_directory}")

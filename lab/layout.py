"""Where the lab keeps things: all of it under `.lab/` in the checkout."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LAB = ROOT / ".lab"
BIN = LAB / "bin"
HOME = LAB / "pulumi"
STATE = LAB / "state"
BACKEND = LAB / "backend"
ENVIRONMENT = LAB / "env"
TOOLS = ROOT / "tools"
PYTHON = ROOT / ".venv" / "bin" / "python"

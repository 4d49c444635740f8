"""Where the demo is. Its files are those of examples/orders: `orders` here is a link, and real files in a wheel."""

from pathlib import Path


def path() -> Path:
    """The folder of the demo's scenario."""
    return Path(__file__).parent / "orders"

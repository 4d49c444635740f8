"""Every speed this project claims, measured; see docs/performance.md."""

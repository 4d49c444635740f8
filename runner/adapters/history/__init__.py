"""What remains of a run: its folder, its result, its place in the index, and its replay."""

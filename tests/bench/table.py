"""What a benchmark prints: the rows of docs/measured.md."""

import os
import platform
import statistics
import time

Row = tuple[str, list[float], list[float], str, str]  # figure, ours, the peer's, unit, who the peer is


def show(rows: list[Row], rounds: int) -> None:
    print(machine())
    print(f"{rounds} rounds; median (min to max)\n")
    print("| figure | this product | peer in the same run | ratio |\n| --- | --- | --- | --- |")
    for figure, ours, peer, unit, what in rows:
        ratio = f"{statistics.median(ours) / statistics.median(peer):.2f}" if peer else ""
        print(f"| {figure} | {shown(ours, unit)} | {shown(peer, unit)} {what} | {ratio} |")


def machine() -> str:
    """Where and when, and what others take of it now: the load of the last minute is not the benchmark's alone."""
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    system = f"{platform.system()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    return f"{system}, {time.strftime('%F')}, load average {load}"


def shown(values: list[float], unit: str) -> str:
    if not values:
        return ""
    return f"{statistics.median(values):.2f} {unit} ({min(values):.2f} to {max(values):.2f})"

"""Figures of tools/benchmark.py as text, as a comparison with a baseline, and as a chart."""

import html
import json

# What is compared of an entry, and whether more of it is better.
COMPARED = {"tokens_per_s": True, "p50_ms": False, "ttft_p50_ms": False}


def load(path):
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        assert isinstance(found["machine"]["cpu"], str)
        assert all(isinstance(entry["mode"], str) for entry in found["results"])
        assert isinstance(found["date"], str) and isinstance(found["version"], str)
        return found
    except (json.JSONDecodeError, KeyError, TypeError, AssertionError) as error:
        raise ValueError(f"{path} is no result of tools/benchmark.py ({error})") from None


def text(result):
    machine = result["machine"]
    lines = [f"culet {result['version']}, Python {result['python']}, {result['model']['variant']} "
             f"({result['model']['dtype']}), {machine['cpu']}, level {machine['level']}, "
             f"{machine['threads']} threads, reads {machine['read_gb_s']:.1f} GB/s",
             f"{result['prompts']} prompts, {result['rounds']} rounds, "
             f"{result['warmup']} before them not counted, "
             f"peak memory {result['peak_memory_bytes'] / 2**20:.0f} MiB", ""]
    lines.append(f"{'':<11} {'tokens/s':>10} {'p50 ms':>9} {'p95 ms':>9}")
    for entry in result["results"]:
        rate = f"{entry['tokens_per_s']:.1f}" if "tokens_per_s" in entry else ""
        line = f"{entry['mode']:<11} {rate:>10} {entry['p50_ms']:>9.2f} {entry['p95_ms']:>9.2f}"
        if "ttft_p50_ms" in entry:
            line += (f"   first piece after {entry['ttft_p50_ms']:.2f} ms (p95 "
                     f"{entry['ttft_p95_ms']:.2f}), prompts {entry['prefill_tokens_per_s']:.0f} tokens/s")
        if "ratio_to_bandwidth" in entry:
            line += (f", decode {entry['decode_tokens_per_s']:.1f} tokens/s = "
                     f"{100 * entry['ratio_to_bandwidth']:.1f}% of the read rate")
        if "mb_per_s" in entry:
            line += f"   {entry['mb_per_s']:.1f} MB/s"
        if "python_ms" in entry:
            line += (f"   Python's own {entry['python_ms']:.3f} ms = "
                     f"{100 * entry['python_share']:.1f}% of the engine's {entry['engine_ms']:.2f} ms; "
                     f"the command's {entry['command_ms']:.2f} ms")
        lines.append(line)
    return "\n".join(lines)


def compare(result, baseline, limits):
    """[(what, now, before, per cent worse, limit)], and whether one of them passes its limit."""
    rows = []
    before = {entry["mode"]: entry for entry in baseline["results"]}
    for entry in result["results"]:
        old = before.get(entry["mode"], {})
        for name, more_is_better in COMPARED.items():
            if name in entry and old.get(name):
                rows.append(_row(f"{entry['mode']} {name}", entry[name], old[name], more_is_better,
                                 limits[name]))
    if baseline.get("peak_memory_bytes"):
        rows.append(_row("peak_memory_bytes", result["peak_memory_bytes"],
                         baseline["peak_memory_bytes"], False, limits["peak_memory_bytes"]))
    return rows, any(worse > most for _, _, _, worse, most in rows)


def _row(what, now, old, more_is_better, most):
    worse = 100 * ((old - now) if more_is_better else (now - old)) / old
    return what, now, old, worse, most


def comparison(rows, result, baseline):
    lines = ["", f"against {baseline['date']}, culet {baseline['version']}:"]
    same = all(result["machine"][name] == baseline["machine"].get(name)
               for name in ("cpu", "level", "threads"))
    if not same or result["model"] != baseline.get("model"):
        lines.append("NOT the same machine or model: " + ", ".join(
            str(baseline["machine"].get(name)) for name in ("cpu", "level", "threads"))
            + f", {baseline.get('model', {}).get('name')}")
    for what, now, old, worse, most in rows:
        verdict = f"worse by more than {most:g}%" if worse > most else ""
        lines.append(f"{what:<28} {now:>12.5g} was {old:>12.5g}  {-worse:>+7.1f}%  {verdict}".rstrip())
    return "\n".join(lines)


def chart(result, baseline=None):
    """A row for each mode, as SVG: every sample's time, their median, and the baseline's."""
    before = {entry["mode"]: entry for entry in baseline["results"]} if baseline else {}
    width, left, right, row = 760, 110, 240, 34
    height = 74 + row * len(result["results"])
    titles = (f"culet {result['version']}: {result['model']['variant']}, {result['date']}",
              f"{result['machine']['cpu']}, level {result['machine']['level']}, "
              f"{result['machine']['threads']} threads. Ticks: milliseconds of each sample from 0; "
              "blue: median" + ("; red: median of the baseline" if baseline else ""))
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
             f'width="{width}" height="{height}" font-family="sans-serif" font-size="13">',
             f'<rect width="{width}" height="{height}" fill="white"/>',
             f'<text x="12" y="22" font-weight="bold">{html.escape(titles[0])}</text>',
             f'<text x="12" y="42" font-size="11">{html.escape(titles[1])}</text>']
    for index, entry in enumerate(result["results"]):
        top = 58 + row * index
        old = before.get(entry["mode"], {}).get("p50_ms")
        scale = (width - left - right) / max(*entry["samples_ms"], old or 0, 1e-9)
        parts.append(f'<text x="{left - 8}" y="{top + 16}" text-anchor="end">{entry["mode"]}</text>')
        parts.append(f'<line x1="{left}" y1="{top + 12}" x2="{width - right}" y2="{top + 12}" '
                     'stroke="#ccc"/>')
        for sample in entry["samples_ms"]:
            x = left + scale * sample
            parts.append(f'<line x1="{x:.1f}" y1="{top + 5}" x2="{x:.1f}" y2="{top + 19}" '
                         'stroke="#999"/>')
        for value, colour in ((old, "#b5482f"), (entry["p50_ms"], "#2f62b5")):
            if value:
                parts.append(f'<rect x="{left + scale * value - 1.5:.1f}" y="{top}" width="3" '
                             f'height="24" fill="{colour}"/>')
        figures = f"p50 {entry['p50_ms']:.4g} ms"
        if "tokens_per_s" in entry:
            figures += f", {entry['tokens_per_s']:.4g} tokens/s"
        parts.append(f'<text x="{width - right + 12}" y="{top + 16}">{figures}</text>')
    return "\n".join([*parts, "</svg>", ""])

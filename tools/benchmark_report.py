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
    """Bars of each mode's tokens/s and p50, as SVG; a mark where the baseline's stand."""
    before = {entry["mode"]: entry for entry in baseline["results"]} if baseline else {}
    bars = []
    for entry in result["results"]:
        old = before.get(entry["mode"], {})
        if "tokens_per_s" in entry:
            bars.append((f"{entry['mode']}, tokens/s", entry["tokens_per_s"], old.get("tokens_per_s")))
        bars.append((f"{entry['mode']}, p50 ms", entry["p50_ms"], old.get("p50_ms")))
    width, left, row = 760, 210, 30
    height = 64 + row * len(bars)
    title = (f"culet {result['version']}, {result['model']['variant']}, {result['machine']['cpu']}, "
             f"{result['machine']['threads']} threads, {result['date']}")
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
             f'width="{width}" height="{height}" font-family="sans-serif" font-size="13">',
             f'<rect width="{width}" height="{height}" fill="white"/>',
             f'<text x="12" y="24" font-weight="bold">{html.escape(title)}</text>']
    for index, (name, value, old) in enumerate(bars):
        top = 44 + row * index
        scale = (width - left - 110) / max(value, old or 0, 1e-9)
        parts.append(f'<text x="{left - 8}" y="{top + 14}" text-anchor="end">{html.escape(name)}</text>')
        parts.append(f'<rect x="{left}" y="{top}" width="{scale * value:.1f}" height="18" fill="#4a78b5"/>')
        parts.append(f'<text x="{left + scale * value + 6:.1f}" y="{top + 14}">{value:.4g}</text>')
        if old:
            parts.append(f'<rect x="{left + scale * old - 1:.1f}" y="{top - 3}" width="2" height="24" '
                         f'fill="#b5482f"><title>baseline {old:.4g}</title></rect>')
    return "\n".join([*parts, "</svg>", ""])

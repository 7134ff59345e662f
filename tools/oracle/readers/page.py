"""The report in Chromium: no text lies on another or sticks out of the window, wide and narrow, light and dark."""

import re
import shutil
import subprocess

# Counts pairs of texts whose boxes overlap, and texts outside of the window.
COUNT = """<script>
addEventListener('load', () => {
  const texts = [], walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const n = walk.currentNode, range = document.createRange();
    if (!n.data.trim() || n.parentElement.closest('script,style,details:not([open])')) continue;
    range.selectNodeContents(n);
    for (const r of range.getClientRects()) if (r.width > 1 && r.height > 1) texts.push([n, r]);
  }
  let over = 0, out = 0;
  texts.forEach(([a, p], i) => {
    if (p.right > innerWidth + 1 && !a.parentElement.closest('pre')) out++;
    texts.slice(i + 1).forEach(([b, q]) => {
      if (a !== b && Math.min(p.right, q.right) - Math.max(p.left, q.left) > 1 && Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top) > 3) over++;
    });
  });
  document.documentElement.dataset.texts = [texts.length, over, out, document.documentElement.scrollWidth > innerWidth].join(' ');
});
</script>"""


def main(run, shots):
    report = run.work / "records" / "report.html"
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not chromium:
        run.verdict("report in Chromium", False, "there is no chromium here")
        return
    shots.mkdir(parents=True, exist_ok=True)
    counting = run.work / "counting.html"
    counting.write_text(re.sub(r"<meta[^>]*Content-Security-Policy[^>]*>", "", report.read_text()) + COUNT)
    seen = []
    for width in (390, 800, 1600):
        for scheme, number in (("light", 1), ("dark", 0)):
            line = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--window-size={width},2400", f"--blink-settings=preferredColorScheme={number}"]
            subprocess.run([*line, f"--screenshot={shots / f'report-{width}-{scheme}.png'}", report.as_uri()], check=True, capture_output=True)
            dom = subprocess.run([*line, "--dump-dom", counting.as_uri()], check=True, capture_output=True, text=True).stdout
            texts, over, out, wide = re.search(r'data-texts="(\d+) (\d+) (\d+) (\w+)"', dom).groups()
            seen.append((width, scheme, int(texts), int(over), int(out), wide))
    good = all(texts > 50 and (over, out, wide) == (0, 0, "false") for _, _, texts, over, out, wide in seen)
    run.verdict("report in Chromium", good, f"no text on another and none outside at {', '.join(f'{w} {s}' for w, s, *_ in seen)}; look at {shots}" if good else f"(width, scheme, texts, overlapping, outside, scrolls) {seen}")

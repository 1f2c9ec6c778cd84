"""What the browser tests ask of an opened page, as JavaScript expressions."""

VISIBLE_PAIRS = "[...document.querySelectorAll('.pair')].filter(pair => pair.checkVisibility())"
WIDE_ELEMENTS = """
[...document.querySelectorAll('body *')].filter(e => !e.closest('svg, pre, .scroll, legend')
  && e.checkVisibility()
  && (e.getBoundingClientRect().right > innerWidth + 1 || e.getBoundingClientRect().left < -1))
  .map(e => e.tagName + '.' + e.className)
"""
FOREIGN_ELEMENTS = """
[...document.querySelectorAll('*')].filter(e =>
  ['IFRAME', 'OBJECT', 'EMBED', 'BASE', 'VIDEO', 'AUDIO', 'MATH', 'TEMPLATE', 'TEXTAREA', 'BUTTON']
  .includes(e.tagName)
  || [...e.attributes].some(a => a.name.startsWith('on') || a.name === 'style'
    || (['href', 'src', 'action', 'xlink:href'].includes(a.name)
    && !/^(#|data:image.jpeg;base64,|data:,$)/.test(a.value)))
).map(e => e.outerHTML.slice(0, 80)).concat(document.scripts.length === 1 ? [] : ['scripts'],
  document.forms.length === 1 ? [] : ['forms'],
  document.querySelectorAll('style').length === 1 ? [] : ['styles'])
"""
_COLOURS = """
  const parse = text => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const ground = e => { for (; e; e = e.parentElement) {
    const c = parse(getComputedStyle(e).backgroundColor);
    if (c.length === 3 || c[3] === 1) return c; } return [255, 255, 255]; };
  const contrast = (first, second) => {
    const [a, b] = [light(first), light(second)].sort((x, y) => y - x);
    return (a + .05) / (b + .05); };
"""
LOW_CONTRAST = f"""
(() => {{
  {_COLOURS}
  const bad = new Set();
  for (const e of document.querySelectorAll('body *')) {{
    const own = [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim());
    if (!own || e.closest('svg, script, .arrow, option') || !e.checkVisibility()) continue;
    const ratio = contrast(parse(getComputedStyle(e).color), ground(e));
    if (ratio < 4.5) bad.add(`${{e.tagName}}.${{e.className}} ${{ratio.toFixed(2)}}`);
  }}
  return [...bad];
}})()
"""
# a line of the grid is no information, and of the far dots it is how dense they lie
FAINT_DRAWINGS = f"""
(() => {{
  {_COLOURS}
  const bad = new Set();
  const drawn = '.chart text, .chart rect, .chart circle, .chart path, .meter rect, .swatch';
  for (const e of document.querySelectorAll(drawn)) {{
    if (e.matches('.grid, .far, .faint')) continue;
    const style = getComputedStyle(e), behind = ground(e.closest('svg')?.parentElement ?? e.parentElement);
    const html = e.matches('.swatch'), line = e.matches('path');
    const [r, g, b] = parse(html ? style.backgroundColor : line ? style.stroke : style.fill);
    const part = html ? 1 : Number(line ? style.strokeOpacity : style.fillOpacity);
    const seen = [r, g, b].map((v, i) => v * part + behind[i] * (1 - part));
    const ratio = contrast(seen, behind);
    const name = `${{e.tagName}}.${{e.getAttribute('class')}} ${{ratio.toFixed(2)}}`;
    if (ratio < (e.matches('text') ? 4.5 : 3)) bad.add(name);
  }}
  return [...bad];
}})()
"""

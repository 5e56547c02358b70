// Says what is wrong with a page, each problem with the word it is known by first.
// Contrast is worked out by WCAG 2.2, https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio,
// from computed styles.
(() => {
  const problems = [];
  const say = (word, node, text = "") => {
    const where = node ? " <" + node.tagName.toLowerCase() + " class=\"" + (node.getAttribute("class") || "") + "\"> " + (node.textContent || "").trim().slice(0, 40) : "";
    problems.push(word + ":" + where + " " + text);
  };
  const all = (selector) => [...document.querySelectorAll(selector)];
  const visible = (node) => node.checkVisibility({ contentVisibilityAuto: true, visibilityProperty: true }) && !node.closest(".aside, .skip");

  // What one is told of an element: https://www.w3.org/TR/accname-1.2/, as far as used here.
  const name = (node) => {
    const labelled = node.getAttribute("aria-labelledby");
    if (labelled) return labelled.split(" ").map((id) => document.getElementById(id)?.textContent || "").join(" ").trim();
    return (node.getAttribute("aria-label") || node.textContent || "").trim();
  };

  const channels = (text) => {
    const m = text.match(/[\d.]+/g).map(Number);
    return [m[0], m[1], m[2], m.length > 3 ? m[3] : 1];
  };
  const over = (top, below) => top.slice(0, 3).map((c, i) => c * top[3] + below[i] * (1 - top[3])).concat(1);
  const background = (node) => {
    const layers = [];
    for (let n = node; n; n = n.parentElement) layers.push(channels(getComputedStyle(n).backgroundColor));
    return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255, 1]);
  };
  const luminance = (c) => {
    const [r, g, b] = c.slice(0, 3).map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (a, b) => {
    const [x, y] = [luminance(a), luminance(b)].sort((p, q) => q - p);
    return (x + 0.05) / (y + 0.05);
  };

  if (!document.documentElement.lang) say("language", document.documentElement);
  if (!document.title) say("title", document.head);
  if (all("main").length !== 1) say("landmark", null, all("main").length + " of main");
  if (all("h1").length !== 1) say("heading", null, all("h1").length + " of h1");

  let level = 0;
  for (const h of all("h1, h2, h3, h4, h5, h6")) {
    const l = Number(h.tagName[1]);
    if (l > level + 1) say("heading", h, "after h" + level);
    level = l;
  }

  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let text = walker.nextNode(); text; text = walker.nextNode()) {
    const node = text.parentElement;
    if (!text.data.trim() || node.closest("script, style, svg")) continue;
    if (!node.closest("main, header, footer, nav, .skip, [role=status]")) say("landmark", node, "is in none");
    if (!visible(node)) continue;
    const below = background(node);
    const c = contrast(over(channels(getComputedStyle(node).color), below), below);
    if (c < 4.5) say("contrast", node, c.toFixed(2));
  }
  for (const shape of all("svg rect[class]")) {
    const host = shape.closest("svg").parentElement;
    if (!visible(host)) continue;
    const below = background(host);
    const c = contrast(over(channels(getComputedStyle(shape).fill), below), below);
    if (c < 3) say("contrast", shape, c.toFixed(2));
  }

  for (const node of all("a[href], button, summary, [role=region], [role=img], nav, section")) {
    if (!name(node)) say("name", node, "is missing");
  }
  for (const node of all("[aria-labelledby], [aria-describedby]")) {
    for (const id of (node.getAttribute("aria-labelledby") || node.getAttribute("aria-describedby")).split(" ")) {
      if (!document.getElementById(id)) say("no element", node, "#" + id);
    }
  }
  const ids = new Set();
  for (const node of all("[id]")) {
    if (ids.has(node.id)) say("twice", node, "#" + node.id);
    ids.add(node.id);
  }
  for (const node of all("svg")) {
    if (node.getAttribute("aria-hidden") !== "true" && node.getAttribute("role") !== "img") say("name", node, "neither hidden nor an image");
  }
  for (const table of all("table")) if (!table.caption) say("caption", table, "is missing");
  for (const th of all("th")) if (!th.scope) say("scope", th, "is missing");
  for (const list of all("ul, ol")) {
    for (const item of list.children) if (item.tagName !== "LI") say("list", item);
  }
  for (const node of all("[style], style, [onclick]")) if (!location.protocol.startsWith("data")) say("inline", node);

  // On a phone, innerWidth grows with what is too wide.
  const room = document.documentElement.clientWidth;
  const wide = document.documentElement.scrollWidth;
  if (wide > room) say("wider", null, wide + " of " + room);
  for (const node of all("body *")) {
    if (node.closest("svg, .scroll, .aside, .skip") || !visible(node)) continue;
    if (node.getBoundingClientRect().right > room + 1) say("wider", node);
  }
  // https://www.w3.org/TR/WCAG22/#target-size-minimum; links in a text are excepted.
  for (const node of all("button, summary")) {
    const box = node.getBoundingClientRect();
    if (box.width < 24 || box.height < 24) say("small", node, box.width + "x" + box.height);
  }
  // What can be reached by the keyboard shows that it is.
  for (const node of all("a[href]:not(.skip), button, summary, [tabindex='0']")) {
    if (!visible(node) || location.protocol === "data:") continue;
    node.focus({ preventScroll: true, focusVisible: true });
    if (document.activeElement !== node) say("focus", node, "cannot be reached");
    else if (getComputedStyle(node).outlineStyle === "none") say("focus", node, "does not show");
  }
  return problems;
})()

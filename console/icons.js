/* Icons, as lines of a 24 x 24 square. */

const PATHS = {
  chart: "M5 20v-7M12 20V4M19 20v-11",
  clock: "M12 7v5l3 2M21 12a9 9 0 1 1-18 0 9 9 0 0 1 18 0",
  close: "m6 6 12 12M18 6 6 18",
  code: "m8 7-5 5 5 5M16 7l5 5-5 5",
  copy: "M9 9h11v11H9zM15 9V4H4v11h5",
  edit: "M4 20l1-5L16 4l4 4L9 19zM14 6l4 4",
  hide: "m4 4 16 16M9.5 5.5A10 10 0 0 1 22 12a15 15 0 0 1-3 4M6 7.5A15 15 0 0 0 2 12a10.5 10.5 0 0 0 14 5.5",
  key: "m11.5 11.5 8-8M16 7l3 3M13 15a5 5 0 1 1-10 0 5 5 0 0 1 10 0",
  list: "M4 6h16M4 12h16M4 18h16",
  more: "M5 11a1 1 0 1 0 .01 0M12 11a1 1 0 1 0 .01 0M19 11a1 1 0 1 0 .01 0",
  order: "M8 5v14M4 15l4 4 4-4M14 7h7M14 12h5M14 17h3",
  plus: "M12 5v14M5 12h14",
  remove: "M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13M10 11v5M14 11v5",
  rotate: "M20 11A8 8 0 0 0 5 7L3 9M3 4v5h5M4 13a8 8 0 0 0 15 4l2-2M21 20v-5h-5",
  show: "M2 12a10.5 10.5 0 0 1 20 0 10.5 10.5 0 0 1-20 0M15 12a3 3 0 1 1-6 0 3 3 0 0 1 6 0",
};

const SVG = "http://www.w3.org/2000/svg";

export function svg(tag, attributes, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

export function icon(name) {
  const attributes = { class: "icon", viewBox: "0 0 24 24", "aria-hidden": "true" };
  return svg("svg", attributes, svg("path", { d: PATHS[name] }));
}

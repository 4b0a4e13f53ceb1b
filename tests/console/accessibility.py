"""What keeps people from using a page: own checks, and axe-core's where dev/axe.sh could get it."""

from service import BUILD

# Names of controls, one main, one h1, and the contrast of texts (WCAG 1.4.3), as computed.
CHECKS = """
const problems = [];
const root = document.querySelector("dialog[open]") ?? document.body;
const shown = (node) => node.checkVisibility({ visibilityProperty: true }) && !node.closest(".offscreen, .skip");
for (const node of root.querySelectorAll("button, a, input, select, textarea, summary")) {
    if (!shown(node)) continue;
    const name = node.ariaLabel || node.textContent.trim() || node.labels?.[0]?.textContent.trim();
    if (!name) problems.push(`no name: ${node.outerHTML}`);
    if (node.tagName !== "A" && node.getBoundingClientRect().height < 16) problems.push(`small: ${node.outerHTML}`);
}
const ids = [...document.querySelectorAll("[id]")].map(({ id }) => id);
for (const id of new Set(ids)) if (ids.indexOf(id) !== ids.lastIndexOf(id)) problems.push(`twice: ${id}`);
for (const node of document.querySelectorAll("[aria-describedby], [aria-labelledby]"))
    for (const id of `${node.getAttribute("aria-describedby") ?? ""} ${node.getAttribute("aria-labelledby") ?? ""}`.split(" "))
        if (id && !document.getElementById(id)) problems.push(`no such id: ${id}`);
const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
const paint = (colours) => {
    canvas.clearRect(0, 0, 1, 1);
    for (const colour of colours) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }
    return [...canvas.getImageData(0, 0, 1, 1).data];
};
const luminance = (rgb) => {
    const [r, g, b] = rgb.map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const backgrounds = (node) => {
    const found = [];
    for (let one = node; one; one = one.parentElement) found.unshift(getComputedStyle(one).backgroundColor);
    return ["white", ...found];
};
const texts = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
while (texts.nextNode()) {
    const node = texts.currentNode.parentElement;
    if (!texts.currentNode.textContent.trim() || !shown(node) || node.closest("[aria-disabled=true], title, option")) continue;
    const behind = backgrounds(node);
    const [a, b] = [paint([...behind, getComputedStyle(node).color]), paint(behind)].map(luminance);
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) problems.push(`contrast ${contrast.toFixed(2)}: ${node.outerHTML.slice(0, 120)}`);
}
return [...new Set(problems)];
"""

AXE = BUILD / "axe/axe.min.js"


def check_accessibility(page):
    assert page.driver.execute_script(CHECKS) == []
    if not AXE.exists():
        return
    page.driver.execute_script(AXE.read_text("utf-8"))
    found = page.driver.execute_async_script("axe.run().then((result) => arguments[0](result.violations))")
    assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found] == []

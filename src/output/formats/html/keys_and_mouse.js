// Keys and mouse.

function focus(box, row) {
    focused = box;
    canvas.reveal(row);
    canvas.drawSoon();
    tell(box);
}

// Moves from box to box: to the caller, to what is called, to the left and to the right.
function move(key) {
    const { rows } = canvas;
    let row = -1, at = -1;
    rows.forEach((boxes, index) => {
        const found = boxes ? boxes.findIndex(isFocused) : -1;
        if (found >= 0) [row, at] = [index, found];
    });
    if (row < 0) {
        const first = isTime() ? 1 : view.zoom.depth;
        if (rows[first] && rows[first][0]) focus(rows[first][0], first);
        return;
    }
    const box = rows[row][at];
    const sideways = { ArrowLeft: -1, ArrowRight: 1 }[key];
    if (sideways) {
        const next = rows[row][at + sideways];
        if (next && !next.isRest) focus(next, row);
        return;
    }
    const to = row + ((key === "ArrowDown") === canvas.isUpward ? -1 : 1);
    const candidates = (rows[to] || []).filter((other) => !other.isRest && other.heading === undefined);
    const overlap = (other) => Math.min(other.x + other.width, box.x + box.width) - Math.max(other.x, box.x);
    const wider = (best, other) => (best === null || overlap(other) > overlap(best) ? other : best);
    const best = candidates.reduce(wider, null);
    if (best !== null && overlap(best) > 0) focus(best, to);
}

function zoomToBox(box) {
    if (box.call) zoomTime(() => chart.show(box.call.start, box.call.end));
    else if (!box.isRest) zoomTo(box.view);
}

// Goes to the next box that is found, in the order of rows.
function nextHit(step) {
    const isHit = (box) => box.heading === undefined && look(box).isHit;
    const hits = canvas.rows.flatMap((boxes, row) => (boxes || []).filter(isHit).map((box) => ({ box, row })));
    if (hits.length === 0) return;
    const at = hits.findIndex(({ box }) => isFocused(box));
    const { box, row } = hits[(at < 0 && step < 0 ? hits.length - 1 : at + step + hits.length) % hits.length];
    focus(box, row);
}

const KEYS = [
    ["/", "search", () => get("search").select()],
    ["n, N", "next and previous frame that is found", null],
    ["arrows", "move from frame to frame", null],
    ["Enter", "zoom to the frame", null],
    ["Backspace", "zoom out by one", null],
    ["Esc", "all of it again, then end the search", null],
    ["1, 2, 3", "flame graph, functions, source", null],
    ["i", "inverted: from the innermost frame up", () => toggle("inverted")],
    ["u", "roots at the bottom or at the top", () => toggle("upward")],
    ["l", "frames by line or by function", () => toggle("lines")],
    ["t", "in time, or by weight", () => choose("order", isTime() ? "heavy" : "time")],
    ["c", "callers and callees of the frame", () => get("to-function").click()],
    ["s", "source of the frame (in time: zoom out)", null],
    ["w, s, a, d", "in time: zoom in and out, move", null],
    ["?", "these keys", openHelp],
];

function toggle(name) {
    state[name] = !state[name];
    if (name === "upward") redraw();
    else rebuild();
}

function choose(name, value) {
    if (![...control(name).options].some((option) => option.value === value)) return;
    control(name).value = state[name] = value;
    rebuild();
}

function pressed(event) {
    const isTyping = event.target === get("search");
    if (get("about-page").open) return;
    if ((event.ctrlKey || event.metaKey) && event.key === "f") {
        event.preventDefault();
        return get("search").select();
    }
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") return escape();
    if (isTyping) {
        if (event.key === "Enter" && state.tab === "graph") nextHit(event.shiftKey ? -1 : 1);
        return;
    }
    if (["INPUT", "SELECT"].includes(event.target.tagName) && event.key !== "?" && event.key !== "/") return;
    const isButton = event.target.tagName === "BUTTON";
    const tab = { 1: "graph", 2: "functions", 3: "source" }[event.key];
    const isGraph = state.tab === "graph";
    const timed = isGraph && isTime() && { w: () => chart.zoomAt(0.5, 0.8), s: () => chart.zoomAt(0.5, 1.25),
        a: () => chart.pan(-0.2), d: () => chart.pan(0.2) }[event.key];
    const known = KEYS.find(([key, , act]) => key === event.key && act);
    const isTab = event.target.getAttribute("role") === "tab";
    if (isTab && ["ArrowLeft", "ArrowRight"].includes(event.key)) moveTab(event.key);
    else if (tab) openTab(tab);
    else if (event.key === "/" || event.key === "?") known[2]();
    else if (!isGraph || (isButton && event.key === "Enter")) return;
    else if (timed) zoomTime(timed);
    else if (event.key.startsWith("Arrow")) move(event.key);
    else if (event.key === "Enter" && focused !== null) zoomToBox(focused);
    else if (event.key === "Backspace" && !isTime() && view.zoom.parent !== null) zoomTo(view.zoom.parent);
    else if (event.key === "n" || event.key === "N") nextHit(event.key === "n" ? 1 : -1);
    else if (event.key === "s") get("to-source").click();
    else if (known) known[2]();
    else return;
    event.preventDefault();
}

function moveTab(key) {
    const tabs = [...document.querySelectorAll("[role=tab]")];
    const at = tabs.findIndex((tab) => tab.getAttribute("aria-selected") === "true");
    const next = tabs[(at + (key === "ArrowRight" ? 1 : -1) + tabs.length) % tabs.length];
    openTab(next.id.slice("tab-".length));
    next.focus();
}

function escape() {
    const isZoomed = state.tab === "graph" && !get("reset").disabled;
    if (isZoomed) resetZoom();
    else if (get("search").value !== "") {
        get("search").value = "";
        find();
    }
    document.activeElement.blur();
}

function resetZoom() {
    if (isTime()) zoomTime(() => chart.show(0, chart.end));
    else zoomTo(view.root);
}

function openHelp() {
    const dialog = get("about-page");
    const keys = make("dl", {}, ...KEYS.flatMap(([key, meaning]) => [make("dt", {}, key), make("dd", {}, meaning)]));
    const doubts = make("ul", {}, ...data.doubts.map((doubt) => make("li", {}, doubt)));
    dialog.replaceChildren(make("h2", { id: "help-title" }, "How to read this page"),
        make("p", {}, "A frame stands below its caller (or above it) and is as wide as its share of the time; what " +
            "it does not pass on to the frames that it calls is its own. Inverted, the innermost functions are the " +
            "roots, and below each is who called it. Order “in time” shows when each thread did what."),
        make("h3", {}, "To be kept in mind"), doubts, make("h3", {}, "Keys"), keys,
        make("form", { method: "dialog" }, make("button", { value: "close" }, "Close")));
    dialog.showModal();
}

// Dragging moves what is shown in time; without moving it is a click.
let drag = null;

function bindCanvas() {
    const element = get("canvas");
    element.addEventListener("pointermove", (event) => {
        if (drag !== null && isTime() && Math.abs(event.clientX - drag.x) > 3) {
            drag.moved = true;
            const by = ((drag.x - event.clientX) / canvas.width) * (drag.to - drag.from);
            return zoomTime(() => chart.show(drag.from + by, drag.to + by));
        }
        const box = canvas.at(event.clientX, event.clientY);
        element.style.cursor = box !== null && box.heading === undefined ? "pointer" : "default";
        tell(box !== null && box.heading === undefined ? box : focused);
    });
    element.addEventListener("pointerleave", () => tell(focused));
    element.addEventListener("pointerdown", (event) => {
        drag = { x: event.clientX, from: chart && chart.from, to: chart && chart.to, moved: false };
    });
    window.addEventListener("pointerup", () => setTimeout(() => (drag = null)));
    element.addEventListener("click", (event) => {
        if (drag !== null && drag.moved) return;
        const box = canvas.at(event.clientX, event.clientY);
        if (box === null || box.heading !== undefined || box.isRest) return;
        focused = box;
        zoomToBox(box);
        tell(box);
    });
    element.addEventListener("wheel", (event) => {
        if (!isTime() || !(event.ctrlKey || Math.abs(event.deltaX) > Math.abs(event.deltaY))) return;
        event.preventDefault();
        const share = event.offsetX / canvas.width;
        const factor = Math.exp(Math.min(Math.max(event.deltaY, -300), 300) * 0.002);
        if (event.ctrlKey) zoomTime(() => chart.zoomAt(share, factor));
        else zoomTime(() => chart.pan(event.deltaX / canvas.width));
    }, { passive: false });
}

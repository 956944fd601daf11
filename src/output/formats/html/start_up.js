// How the page starts: its choices are filled, the first picture is drawn, then all others follow.

function fillSelects() {
    const option = (value, text) => make("option", { value }, text);
    const now = model.threads.filter((thread) => !thread.isBefore);
    const processes = [...new Set(now.map((thread) => thread.process))];
    const byWeight = [...now].sort((one, other) => other.sum - one.sum).slice(0, 500);
    const all = now.reduce((sum, thread) => sum + thread.sum, 0);
    get("threads").append(option("", "all"));
    if (processes.length > 1) get("threads").append(...processes.map((process) => option(process, process)));
    const textOf = (thread) => `${percent(thread.sum, all)} ${thread.label}`;
    get("threads").append(...byWeight.map((thread) => option(thread.index, textOf(thread))));
    const groups = [["all", "together"], ["thread", "by thread"], ["process", "by process"], ["task", "by task"]];
    const hasTasks = model.functions.some((one) => one.isTask);
    const isThere = { all: true, thread: now.length > 1, process: processes.length > 1, task: hasTasks };
    get("group").append(...groups.filter(([value]) => isThere[value]).map(([value, text]) => option(value, text)));
    const hasTime = data.slot_us !== null && now.length > 0 && !model.isDiff && data.unit === "s";
    const { group } = document.body.dataset;
    if (isThere[group] && !model.isDiff) control("group").value = state.group = group;
    const orders = [["heavy", "heaviest first"], ["name", "by name"], ...(hasTime ? [["time", "in time"]] : [])];
    get("order").append(...orders.map(([value, text]) => option(value, text)));
    // Of a comparison, threads have no partners on the other side. What gives no choice is never shown.
    const hasLines = model.frameLine.some((line) => line > 0);
    const least = { threads: 3, group: 2 };
    const isUseful = (name) => (name === "lines" ? hasLines : !model.isDiff && get(name).options.length >= least[name]);
    for (const name of ["threads", "group", "lines"]) if (!isUseful(name)) get(name).parentNode.remove();
}

// Title and legend.
function drawHead() {
    get("title").textContent = first.title;
    get("about").textContent = first.about;
    const swatch = (color, text) => {
        const mark = make("i");
        mark.style.background = color;
        return make("span", {}, mark, text);
    };
    const isDiff = first.is_difference === 1;
    const swatches = isDiff
        ? [swatch(rgb(GROWN, GROWN, 0), "has grown"), swatch(rgb(SHRUNK, SHRUNK, 0), "has shrunk, dashed: gone"),
            swatch(rgb(UNCHANGED, UNCHANGED, 0), "as before, but for the noise of sampling")]
        : first.seen.map((kind) => first.kinds[kind]).map(([text, from, to]) => swatch(rgb(from, to, 0.5), text));
    const weight = first.unit === "s" ? "time" : "samples";
    const width = "Width: " + (isDiff ? `share of the ${weight} after` : weight);
    get("legend").append(make("span", {}, width), ...swatches, swatch(colors().hit, "found"));
}

function firstPainter() {
    const look = ({ fill }) => ({ fill, isHit: false, isGone: false });
    return { colors, look, label: (box) => box.label, isFocused: () => false, over: () => {} };
}

function drawFirst() {
    const rowOf = (boxes, width) => {
        let end = 0;
        return boxes.map(([gap, length, number]) => {
            const start = end + gap;
            end = start + length;
            const [name, place, kind] = number > 0 ? first.functions[number - 1] : ["…", ""];
            const fill = number > 0 ? colourOf(first.kinds, kind, name) : colors().neutral;
            return { x: start * width / 1e6, width: length * width / 1e6, label: labelOf(name, place), fill };
        });
    };
    const show = (width) => {
        const root = { x: 0, width, label: "all", fill: colors().neutral };
        canvas.show([[root], ...first.rows.map((boxes) => rowOf(boxes, width))], false);
    };
    const { width } = canvas;
    show(width);
    // Their height may have brought a scroll bar.
    if (canvas.width !== width) show(canvas.width);
    canvas.draw();
    document.documentElement.dataset.drawn = "1";
}

// Lets the browser show what was drawn before all the rest keeps it busy. A page in the background has no frames.
function shown() {
    const framed = new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
    return Promise.race([framed, new Promise((done) => setTimeout(done, 100))]);
}

function bindControls() {
    control("threads").addEventListener("change", (event) => {
        state.threads = event.target.value;
        reload();
    });
    for (const name of ["group", "order"]) {
        control(name).addEventListener("change", (event) => choose(name, event.target.value));
    }
    for (const name of ["inverted", "upward", "lines"]) control(name).addEventListener("change", () => toggle(name));
    for (const tab of document.querySelectorAll("[role=tab]")) {
        tab.addEventListener("click", () => openTab(tab.id.slice("tab-".length)));
    }
    get("search").addEventListener("input", find);
    get("reset").addEventListener("click", resetZoom);
    get("help").addEventListener("click", openHelp);
    get("theme").addEventListener("click", () => {
        const isDark = getComputedStyle(document.documentElement).colorScheme === "dark"
            || (!document.documentElement.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches);
        document.documentElement.dataset.theme = isDark ? "light" : "dark";
        theme = null;
        canvas.drawSoon();
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
        theme = null;
        canvas.drawSoon();
    });
    window.addEventListener("keydown", pressed);
    // It is told of the size too that there is at first.
    new ResizeObserver(() => laidOut === roomOf() || redraw()).observe(get("scroll"));
    bindCanvas();
}

fillSelects();
bindControls();
reload();
canvas.draw();
document.documentElement.dataset.drawn = "1";
complete(model, await unpacked("rest"));
if (isTime()) reload();
else if (state.tab === "source") refresh();
document.documentElement.dataset.ready = "1";

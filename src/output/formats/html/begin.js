// The beginning.

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
    const hasTime = now.some((thread) => thread.time.length > 0) && !model.isDiff && data.unit === "s";
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

function drawLegend() {
    const seen = new Set(model.functions.slice(1).map((one) => one.kind));
    const swatch = (color, text) => {
        const mark = make("i");
        mark.style.background = color;
        return make("span", {}, mark, text);
    };
    const swatches = model.isDiff
        ? [swatch(rgb(GROWN, GROWN, 0), "has grown"), swatch(rgb(SHRUNK, SHRUNK, 0), "has shrunk, dashed: gone"),
            swatch(rgb(UNCHANGED, UNCHANGED, 0), "as before, but for the noise of sampling")]
        : data.kinds.filter((_, kind) => seen.has(kind))
            .map(([meaning, from, to]) => swatch(rgb(from, to, 0.5), meaning));
    const weight = data.unit === "s" ? "time" : "samples";
    const width = "Width: " + (model.isDiff ? `share of the ${weight} after` : weight);
    get("legend").append(make("span", {}, width), ...swatches, swatch(colors().hit, "found"));
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
    new ResizeObserver(redraw).observe(get("scroll"));
    bindCanvas();
}

get("title").textContent = data.title;
get("about").textContent = data.about;
fillSelects();
drawLegend();
bindControls();
openTabFirst();

function openTabFirst() {
    page.weights = weightsOf(model, model.threads);
    page.sums = { own: [], total: [] };
    reload();
    openTab("graph");
    document.documentElement.dataset.ready = "1";
}

// The page: what is chosen, and what follows from it.

const get = (id) => document.getElementById(id);
// The choices, those too that are taken out of the page because there is nothing to choose.
const choices = new Map(["threads", "group", "order", "inverted", "upward", "lines"].map((name) => [name, get(name)]));
const control = (name) => choices.get(name);
const UNCHANGED = [226, 229, 228];
const GROWN = [226, 74, 60];
const SHRUNK = [84, 132, 224];

const state = { tab: "graph", threads: "", group: "all", order: "heavy", inverted: false, lines: false,
    upward: document.body.dataset.upward === "1" };
let view = null, chart = null, focused = null, theme = null;

// What was laid out before the page was written is drawn while the browser reads on. Only `first` is known by then.
const first = JSON.parse(new TextDecoder().decode(bytesOf("first")));
const canvas = new Canvas(get("canvas"), get("scroll"), get("height"), firstPainter());
showTab("graph");
drawHead();
if (first.rows.length > 0) {
    drawFirst();
    await shown();
}

const model = modelOf(await unpacked("data"));
const { data } = model;
const { amount, percent, points } = formatsOf(data);
// What the views share; `weights` are of the threads that are chosen, and the sums over them are made when a view
// wants them, which the first picture does not.
const page = {
    model, amount, percent, isHit: null, chooseFunction,
    choose(weights) {
        Object.assign(this, { weights, functionSums: null, frameSums: null });
    },
    get sums() {
        const { functions } = model;
        return (this.functionSums ||= sumsBy(model, this.weights, functions.length, (node) => functionOf(model, node)));
    },
    get lineSums() {
        const frames = model.frameFunction.length;
        return (this.frameSums ||= sumsBy(model, this.weights, frames, (node) => model.frame[node]));
    },
};
// The room that the picture was laid out for.
let laidOut = "";
const roomOf = () => `${canvas.width} ${get("scroll").clientHeight}`;

const share = (weight) => weight / (page.weights.total[0] || 1);
const shareBefore = (weight) => weight / (page.weights.totalBefore[0] || 1);
Object.assign(page, { share, shareBefore, cell });

canvas.painter = { colors, look, label, isFocused, over };
const table = new Table(get("list"), get("heads"), get("rows"), chooseFunction);
const source = new Source(get("file"), get("file-about"), get("code"), get("line-around"));

// What is shown of a box.

const isTime = () => state.order === "time";
const keyOf = (box) => (box.call ? box.call.key : view.functionOf(box.view));

function label(box) {
    if (box.call) return model.functions[box.call.key].label;
    return box.isRest ? "…" : box.view.label;
}

function look(box) {
    const key = keyOf(box);
    if (box.isRest || key < 0) return { fill: colors().neutral, isHit: false, isGone: false };
    const { kind, name } = model.functions[key];
    const isHit = page.isHit !== null && page.isHit[key] === 1;
    if (!model.isDiff) {
        const fill = (model.functions[key].fill ||= colourOf(first.kinds, kind, name));
        return { fill, isHit, isGone: false };
    }
    const change = changeOf(shareBefore(box.view.before), share(box.view.total), data.samples);
    const strength = change.isReal ? Math.min(1, 0.2 + (0.8 * Math.abs(change.difference)) / 0.05) : 0;
    const fill = rgb(UNCHANGED, change.difference > 0 ? GROWN : SHRUNK, strength);
    return { fill, isHit, isGone: box.view.total === 0 };
}

function isFocused(box) {
    return focused !== null && !box.isRest && (box.call ? sameCall(box.call, focused.call) : box.view === focused.view);
}

const sameCall = (one, other) => other !== undefined && one.key === other.key && one.start === other.start;

// Colours that follow the page's style.
function colors() {
    if (theme === null) {
        const probe = make("i");
        document.body.append(probe);
        theme = { neutral: "#c9ccd1", onHit: "#fff" };
        for (const name of ["text", "faint", "edge", "accent", "back"]) {
            probe.style.color = `var(--${name})`;
            theme[name] = getComputedStyle(probe).color;
        }
        theme.hit = "#b000b0";
        probe.remove();
    }
    return theme;
}

// The axis, which stays above all threads.
function over(context, width, height, { back, faint, edge }) {
    if (!isTime() || chart === null) return;
    context.fillStyle = back;
    context.fillRect(0, 0, width, canvas.top);
    for (const { x, text } of chart.ticks(width)) {
        context.fillStyle = edge;
        context.fillRect(x, canvas.top - 5, 1, 5);
        context.fillStyle = faint;
        context.fillText(text, Math.min(Math.max(x - 20, 2), width - text.length * canvas.letter - 2), 9);
    }
}

// What there is to say of a box.
function about(box) {
    if (box.call) {
        const { key, start, end } = box.call;
        return `${model.functions[key].label}: ${amount(end - start)}, from ${amount(start)} to ${amount(end)}`;
    }
    const { total, own, before, ownBefore } = box.view;
    if (box.isRest) return "… calls that are too narrow to be drawn: zoom in to see them";
    if (model.isDiff) {
        const text = (now, then) => `${percent(shareBefore(then), 1)} → ${percent(share(now), 1)}`;
        const change = changeOf(shareBefore(before), share(total), data.samples);
        const noise = change.isReal || change.difference === 0 ? "" : ", within noise";
        const difference = points(change.difference) + noise;
        return `${box.view.label}: ${text(total, before)}, ${difference}; own ${text(own, ownBefore)}`;
    }
    const isInside = view.zoom !== view.root && box.view.depth >= view.zoom.depth;
    const zoomed = !isInside ? "" : `, ${percent(total, view.zoom.total)} of what is shown`;
    const alone = own > 0 && own < total ? `; own ${amount(own)}, ${percent(own, page.weights.total[0])}` : "";
    return `${box.view.label}: ${amount(total)}, ${percent(total, page.weights.total[0])}${zoomed}${alone}`;
}

// What a row of the table shows of a function.
function cell(sum, key) {
    const now = page.sums[sum][key];
    if (!model.isDiff) {
        const texts = [amount(now), percent(now, page.weights.total[0]).padStart(7)];
        return { texts, share: share(now), className: "" };
    }
    const change = changeOf(shareBefore(page.sums[sum + "Before"][key]), share(now), data.samples);
    const className = !change.isReal ? "" : change.difference > 0 ? "grown" : "shrunk";
    return { texts: [percent(share(now), 1), points(change.difference).padStart(12)], share: share(now), className };
}

// From what is chosen to what is seen.

function chosenThreads() {
    const wanted = state.threads;
    const isChosen = ({ process, index }) => wanted === "" || process === wanted || String(index) === wanted;
    const chosen = model.threads.filter(isChosen);
    return chosen.length > 0 ? chosen : model.threads;
}

// Threads were chosen: all sums are new.
function reload() {
    page.choose(weightsOf(model, chosenThreads()));
    [view, chart] = [null, null];
    rebuild();
    refresh();
}

// Another tree is wanted of the same sums.
function rebuild() {
    focused = null;
    if (isTime()) chart ||= new TimeChart(model, chosenThreads());
    view = new FlameTree(model, groupsOf(model, chosenThreads(), page.weights, state.group), state);
    redraw();
    tell(null);
}

function redraw() {
    if (state.tab !== "graph") return;
    // What is shown may be so high that a scroll bar takes of the width: then it is laid out again.
    laidOut = roomOf();
    const rows = isTime() ? chart.layout(canvas.width) : view.layout(canvas.width);
    canvas.show(rows, state.upward && !isTime(), isTime() ? 20 : 0);
    drawCrumbs();
    for (const element of document.querySelectorAll("nav .tree")) element.hidden = isTime();
    control("group").disabled = isTime();
    get("reset").disabled = isTime() ? chart.from === 0 && chart.to === chart.end : view.zoom === view.root;
    for (const name of ["inverted", "upward", "lines"]) control(name).checked = state[name];
}

// The table, the source and the words follow the sums and the search.
function refresh() {
    if (state.tab === "functions") table.show(page, functionsFound());
    if (state.tab === "source" && model.pieces !== null) source.show(page);
    const { validationMessage, value } = get("search");
    if (page.isHit === null) get("matched").textContent = value === "" ? "" : validationMessage;
    else {
        const count = functionsFound().length;
        const weight = matchedWeight(model, page.weights, page.isHit);
        const part = `${percent(weight, page.weights.total[0])} of the time (${amount(weight)})`;
        get("matched").textContent = `${count} ${count === 1 ? "function" : "functions"}, in ${part}`;
    }
}

// The functions that took something, of those that are searched for.
function functionsFound() {
    const { sums } = page;
    const isThere = (key) => sums.total[key] > 0 || (model.isDiff && sums.totalBefore[key] > 0);
    const isWanted = (key) => isThere(key) && (page.isHit === null || page.isHit[key] === 1);
    return [...model.functions.keys()].filter(isWanted);
}

function drawCrumbs() {
    const path = [];
    if (!isTime()) for (let at = view.zoom; at !== null; at = at.parent) path.unshift(at);
    const shown = path.length > 8 ? [path[0], null, ...path.slice(-6)] : path;
    get("crumbs").replaceChildren(...shown.flatMap((at, index) => [
        index === 0 ? "" : " › ",
        at === null ? "…" : make("button", { type: "button", title: at.label, onclick: () => zoomTo(at) }, nameOf(at)),
    ]));
    get("crumbs").hidden = path.length < 2;
}

function nameOf(at) {
    const key = view.functionOf(at);
    return key < 0 ? at.label : model.functions[key].name;
}

function zoomTo(target) {
    view.zoom = target;
    redraw();
    canvas.reveal(target.depth);
}

function zoomTime(act) {
    act();
    redraw();
}

// The status line; without a box, what can be done.
function tell(box) {
    const key = box === null || box.isRest ? -1 : keyOf(box);
    get("status").textContent = box !== null ? about(box)
        : isTime() ? "Click a call to zoom to it. Wheel with Ctrl, w and s zoom; drag, a and d move."
        : "Click a frame to zoom to it, Esc to see all again. Arrow keys move, ? lists the keys.";
    get("to-function").disabled = get("to-source").disabled = key < 0;
    get("to-source").disabled ||= model.functions[key].file < 0;
    get("to-function").onclick = () => chooseFunction(key);
    get("to-source").onclick = () => openSource(key, box.view ? view.lineOf(box.view) : 0);
}

// Functions and source.

function chooseFunction(key) {
    table.chosen = key;
    if (state.tab !== "functions") {
        openTab("functions");
        const at = table.shown.indexOf(key);
        if (at >= 0) return table.select(at);
    }
    table.draw();
    const { label: name, file } = model.functions[key];
    const whole = page.sums.total[key];
    const head = `${name}: own ${amount(page.sums.own[key])}, total ${amount(whole)}`;
    const buttons = make("p", {});
    if (file >= 0) buttons.append(make("button", { type: "button", onclick: () => openSource(key, 0) }, "Source"), " ");
    buttons.append(make("button", { type: "button", onclick: () => searchFor(key) }, "Find in the flame graph"));
    const tables = neighbourTables(page, (frame) => model.frameFunction[frame] === key, whole, chooseFunction);
    get("around").replaceChildren(make("h2", {}, head), buttons, tables);
}

function searchFor(key) {
    get("search").value = "^" + model.functions[key].label.replace(/[.*+?^${}()|[\]\\]/g, "\\$&") + "$";
    find();
    openTab("graph");
}

// Without a line, the one at which the function took most.
function openSource(key, line) {
    let [best, most] = [line, -1];
    for (let frame = 0; line === 0 && frame < model.frameFunction.length; frame++) {
        if (model.frameFunction[frame] === key && page.lineSums.total[frame] > most) {
            [best, most] = [model.frameLine[frame], page.lineSums.total[frame]];
        }
    }
    [source.file, source.line] = [model.functions[key].file, best];
    openTab("source");
}

function openTab(name) {
    showTab(name);
    redraw();
    refresh();
}

function showTab(name) {
    state.tab = name;
    for (const tab of document.querySelectorAll("[role=tab]")) {
        const isThis = tab.id === "tab-" + name;
        tab.setAttribute("aria-selected", isThis);
        tab.tabIndex = isThis ? 0 : -1;
        get(tab.getAttribute("aria-controls")).hidden = !isThis;
    }
    for (const element of document.querySelectorAll("nav .graph")) element.hidden = name !== "graph";
    document.querySelector("footer").hidden = name !== "graph";
}

// Small letters find capitals too.
function find() {
    const input = get("search");
    let pattern = null;
    try {
        if (input.value !== "") pattern = new RegExp(input.value, input.value === input.value.toLowerCase() ? "i" : "");
        input.setCustomValidity("");
    } catch (error) {
        input.setCustomValidity(String(error.message));
    }
    page.isHit = pattern === null ? null : Uint8Array.from(model.functions, ({ label }) => Number(pattern.test(label)));
    canvas.drawSoon();
    refresh();
}

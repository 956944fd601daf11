// What the page was given, and sums over it. A node is a stack: that of its caller and one more frame; nodes lie so
// that all that a node calls comes right after it. Weights are µs, or thousandths of a sample where no time is known.

// What stands in the element `id`, and behind the script where that runs before all of the page is there.
function bytesOf(id) {
    const text = atob(document.getElementById(id).textContent.trim());
    const bytes = new Uint8Array(text.length);
    for (let at = 0; at < bytes.length; at++) bytes[at] = text.charCodeAt(at);
    return bytes;
}

async function unpacked(id) {
    while (document.readyState === "loading") {
        await new Promise((done) => document.addEventListener("readystatechange", done, { once: true }));
    }
    const stream = new Blob([bytesOf(id)]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
    return new Response(stream).json();
}

const labelOf = (name, place) => (place ? `${name} (${place})` : name);

function modelOf(data) {
    const count = data.node_frames.length + 1;
    const [parent, depth, frame, end] = [0, 1, 2, 3].map(() => new Int32Array(count));
    parent[0] = -1;
    const path = [0];
    for (let node = 1; node < count; node++) {
        depth[node] = depth[node - 1] + 1 - data.node_ups[node - 1];
        parent[node] = path[depth[node] - 1];
        frame[node] = data.node_frames[node - 1];
        path[depth[node]] = node;
    }
    // Where that ends which a node calls.
    for (let node = count - 1; node >= 0; node--) {
        end[node] = Math.max(end[node], node + 1);
        if (node > 0) end[parent[node]] = Math.max(end[parent[node]], end[node]);
    }
    const functions = data.functions.map(([name, file, line, kind, isTask]) => {
        const place = file < 0 ? "" : data.files[file][0] + (line ? ":" + line : "");
        return { name, file, line, kind, isTask: isTask === 1, place, label: labelOf(name, place) };
    });
    const threads = data.threads.map((thread, index) => {
        let [node, sum] = [0, 0];
        const nodes = thread.nodes.map((step) => (node += step));
        for (const weight of thread.weights) sum += weight;
        return { ...thread, index, nodes, sum, isBefore: thread.before === 1, time: [] };
    });
    const isDiff = data.samples.length > 1;
    return { data, count, parent, depth, frame, end, functions, threads, isDiff, pieces: null,
        frameFunction: Int32Array.from(data.frame_functions), frameLine: Int32Array.from(data.frame_lines) };
}

// Adds what the first picture does not need: what threads did when, and source.
function complete(model, { times, pieces }) {
    times.forEach((time, index) => (model.threads[index].time = time));
    model.pieces = pieces;
}

// What each node took in some threads, alone (`own`) and with all that it called (`total`); `drawn` is its width,
// which in a comparison is also given to what is gone, as wide as its share was.
function weightsOf(model, threads, isWanted = null) {
    const sums = (isBefore) => {
        const own = new Float64Array(model.count);
        for (const { nodes, weights } of threads.filter((thread) => thread.isBefore === isBefore)) {
            for (let at = 0; at < nodes.length; at++) {
                if (isWanted === null || isWanted(nodes[at])) own[nodes[at]] += weights[at];
            }
        }
        return own;
    };
    const own = sums(false);
    const total = totalsOf(model, own);
    if (!model.isDiff) return { own, total, drawn: total, drawnOwn: own, ownBefore: null, totalBefore: null };
    const ownBefore = sums(true);
    const totalBefore = totalsOf(model, ownBefore);
    const scale = totalBefore[0] > 0 ? total[0] / totalBefore[0] : 0;
    const drawnOwn = own.map((weight, node) => (total[node] > 0 ? weight : ownBefore[node] * scale));
    return { own, total, drawnOwn, drawn: totalsOf(model, drawnOwn), ownBefore, totalBefore };
}

function totalsOf(model, own) {
    const total = own.slice();
    for (let node = model.count - 1; node > 0; node--) total[model.parent[node]] += total[node];
    return total;
}

// For each of `keyCount` keys, by `keyOf` a node: what it took on its own and with all that it called; where it stands
// above itself it counts once.
function sumsBy(model, weights, keyCount, keyOf) {
    const names = weights.ownBefore ? ["own", "total", "ownBefore", "totalBefore"] : ["own", "total"];
    const sums = Object.fromEntries(names.map((name) => [name, new Float64Array(keyCount)]));
    const above = new Int32Array(keyCount);
    const open = [];
    for (let node = 1; node < model.count; node++) {
        while (open.length >= model.depth[node]) above[open.pop()] -= 1;
        const key = keyOf(node);
        sums.own[key] += weights.own[node];
        if (above[key] === 0) sums.total[key] += weights.total[node];
        if (weights.ownBefore) {
            sums.ownBefore[key] += weights.ownBefore[node];
            if (above[key] === 0) sums.totalBefore[key] += weights.totalBefore[node];
        }
        above[key] += 1;
        open.push(key);
    }
    return sums;
}

const functionOf = (model, node) => model.frameFunction[model.frame[node]];

// Who called the nodes that `isIt` picks by their frames, and what these called: pairs of function and weight, the
// heaviest first. A call below another of the same counts once.
function neighbours(model, weights, isIt) {
    const [callers, callees] = [new Map(), new Map()];
    const add = (map, key, weight) => map.set(key, (map.get(key) || 0) + weight);
    const above = new Map();
    const open = [];
    let inside = 0;
    for (let node = 1; node < model.count; node++) {
        while (open.length >= model.depth[node]) {
            const { picked, key } = open.pop();
            if (picked) inside -= 1;
            if (key !== null) above.set(key, above.get(key) - 1);
        }
        const weight = weights.total[node];
        const parent = model.parent[node];
        const picked = isIt(model.frame[node]);
        let key = null;
        if (weight > 0 && picked && inside === 0) add(callers, parent > 0 ? functionOf(model, parent) : -1, weight);
        if (parent > 0 && isIt(model.frame[parent])) {
            key = functionOf(model, node);
            if (!above.get(key)) add(callees, key, weight);
            above.set(key, (above.get(key) || 0) + 1);
        }
        if (picked) inside += 1;
        open.push({ picked, key });
    }
    const sorted = (map) => [...map].filter(([, weight]) => weight > 0).sort((one, other) => other[1] - one[1]);
    return { callers: sorted(callers), callees: sorted(callees) };
}

// The weight of all stacks with a frame of a function in `isHit`.
function matchedWeight(model, weights, isHit) {
    const has = new Uint8Array(model.count);
    let sum = 0;
    for (let node = 1; node < model.count; node++) {
        has[node] = has[model.parent[node]] | isHit[functionOf(model, node)];
        if (has[node]) sum += weights.own[node];
    }
    return sum;
}

// Amounts as they are shown.
function formatsOf(data) {
    const digits = (number) => number.toLocaleString("en-US", { maximumFractionDigits: 0 });
    const amount = (weight) => {
        const number = weight / data.per_unit;
        if (data.unit !== "s") return digits(number) + " samples";
        if (number >= 100) return number.toFixed(1) + " s";
        return number >= 1 ? number.toFixed(2) + " s" : (number * 1e3).toFixed(number < 0.01 ? 2 : 1) + " ms";
    };
    const percent = (weight, whole) => {
        const isSmall = weight > 0 && weight < whole / 1e3;
        return ((weight * 100) / (whole || 1)).toFixed(isSmall ? 3 : 1) + " %";
    };
    const points = (difference) => (difference >= 0 ? "+" : "−") + Math.abs(difference * 100).toFixed(1) + " points";
    return { amount, percent, points };
}

// How a share has changed between two profiles, and whether sampling alone could not have made that of equal ones.
function changeOf(before, after, samples) {
    const [now, then] = samples.map((number) => Math.max(number, 1));
    const pooled = (before * then + after * now) / (then + now);
    const error = Math.sqrt(Math.max(0, pooled * (1 - pooled) * (1 / then + 1 / now)));
    return { before, after, difference: after - before, isReal: Math.abs(after - before) > 2.58 * error };
}

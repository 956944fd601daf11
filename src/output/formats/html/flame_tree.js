// The tree that is drawn: frames of the same function below the same caller are one (or of the same line), from the
// roots or, inverted, from the innermost frame. Its parts are made when they are wide enough to be seen.

const NARROWEST = 0.5;

class FlameTree {
    // `groups`: label, nodes where its stacks begin, and a function that gives its weights.
    constructor(model, groups, settings) {
        Object.assign(this, { model, settings });
        this.root = this.made(null, -1, "all");
        if (groups.length === 1 && groups[0].isAll) {
            this.become(this.root, groups[0]);
        } else {
            this.root.children = groups.map((group) => this.become(this.made(this.root, -1, group.label), group));
            for (const child of this.root.children) {
                for (const name of ["total", "before", "drawn"]) this.root[name] += child[name];
            }
            this.sort(this.root.children);
        }
        this.zoom = this.root;
    }

    made(parent, key, label) {
        const depth = parent === null ? 0 : parent.depth + 1;
        return { parent, key, label, depth, nodes: [], shares: null, weights: null, children: null,
            total: 0, own: 0, before: 0, ownBefore: 0, drawn: 0 };
    }

    become(view, group) {
        const weights = group.weights();
        view.nodes = group.nodes;
        view.weights = weights;
        for (const node of group.nodes) this.add(view, weights, node);
        return view;
    }

    add(view, weights, node) {
        view.total += weights.total[node];
        view.own += weights.own[node];
        view.drawn += weights.drawn[node];
        if (weights.ownBefore) {
            view.before += weights.totalBefore[node];
            view.ownBefore += weights.ownBefore[node];
        }
    }

    functionOf(view) {
        if (view.key < 0) return -1;
        return this.settings.lines ? this.model.frameFunction[view.key] : view.key;
    }

    lineOf(view) {
        return this.settings.lines && view.key >= 0 ? this.model.frameLine[view.key] : 0;
    }

    keyOf(node) {
        const frame = this.model.frame[node];
        return this.settings.lines ? frame : this.model.frameFunction[frame];
    }

    childrenOf(view) {
        if (view.children === null) {
            const found = new Map();
            const get = (node) => {
                const key = this.keyOf(node);
                let child = found.get(key);
                if (child === undefined) {
                    child = this.made(view, key, this.labelOf(key));
                    child.weights = view.weights;
                    found.set(key, child);
                }
                return child;
            };
            if (this.settings.inverted) this.addCallers(view, get);
            else this.addCallees(view, get);
            view.children = [...found.values()];
            this.sort(view.children);
        }
        return view.children;
    }

    labelOf(key) {
        if (!this.settings.lines) return this.model.functions[key].label;
        const { name, file } = this.model.functions[this.model.frameFunction[key]];
        const line = this.model.frameLine[key];
        return file < 0 ? name : `${name} (${this.model.data.files[file][0]}${line ? ":" + line : ""})`;
    }

    addCallees(view, get) {
        const { end } = this.model;
        for (const node of view.nodes) {
            for (let callee = node + 1; callee < end[node]; callee = end[callee]) {
                if (view.weights.drawn[callee] <= 0) continue;
                const child = get(callee);
                child.nodes.push(callee);
                this.add(child, view.weights, callee);
            }
        }
    }

    // Upside down, a frame has the time in which all that stands above it led to the innermost one.
    addCallers(view, get) {
        const { own, drawnOwn, ownBefore } = view.weights;
        const put = (node, share) => {
            const child = get(node);
            if (child.shares === null) child.shares = [];
            child.nodes.push(node);
            child.shares.push(share);
            child.total += own[share];
            child.drawn += drawnOwn[share];
            if (ownBefore) child.before += ownBefore[share];
            if (view.shares === null) {
                child.own = child.total;
                child.ownBefore = child.before;
            }
        };
        if (view.shares === null) {
            for (let node = 1; node < this.model.count; node++) if (drawnOwn[node] > 0) put(node, node);
            return;
        }
        for (let at = 0; at < view.nodes.length; at++) {
            const caller = this.model.parent[view.nodes[at]];
            if (caller > 0) put(caller, view.shares[at]);
        }
    }

    sort(children) {
        const byName = (one, other) => (one.label < other.label ? -1 : one.label > other.label ? 1 : 0);
        if (this.settings.order === "name") children.sort(byName);
        else children.sort((one, other) => other.drawn - one.drawn || byName(one, other));
    }

    // Rows of boxes from the root on, for a picture so wide; those above what is zoomed to have all of the width.
    layout(width) {
        const rows = [];
        for (let above = this.zoom.parent; above !== null; above = above.parent) {
            rows[above.depth] = [{ x: 0, width, view: above, isPart: true }];
        }
        const scale = width / (this.zoom.drawn || 1);
        const toDo = [{ x: 0, width, view: this.zoom, isPart: false }];
        // A row at a time, so that the boxes of each come from left to right.
        for (let row = toDo; row.length > 0;) {
            rows[row[0].view.depth] = row;
            const next = [];
            for (const box of row) {
                let x = box.x;
                if (box.isRest) continue;
                let rest = 0;
                for (const view of this.childrenOf(box.view)) {
                    const width = view.drawn * scale;
                    if (width < NARROWEST) {
                        rest += width;
                        continue;
                    }
                    next.push({ x, width, view, isPart: false });
                    x += width;
                }
                // What is too narrow, together: it ends where the own time begins.
                if (rest >= NARROWEST) next.push({ x, width: rest, view: box.view, isPart: false, isRest: true });
            }
            // Nothing is below what is too narrow, but its depth goes on.
            for (const box of next) if (box.isRest) box.view = { ...box.view, depth: row[0].view.depth + 1 };
            row = next;
        }
        return rows;
    }
}

// The groups in which stacks are shown: all together, by thread, by process, by task; `whole` are the weights of all
// of these threads.
function groupsOf(model, threads, whole, by) {
    if (by === "all") return [{ isAll: true, label: "all", nodes: [0], weights: () => whole }];
    if (by === "task") return taskGroups(model, threads);
    const byLabel = new Map();
    for (const thread of threads) {
        const label = by === "thread" ? thread.label : thread.process;
        if (!byLabel.has(label)) byLabel.set(label, []);
        byLabel.get(label).push(thread);
    }
    const sumOf = (members) => members.reduce((sum, one) => sum + one.sum, 0);
    let parts = [...byLabel].map(([label, members]) => ({ label, members, sum: sumOf(members) }));
    parts.sort((one, other) => other.sum - one.sum);
    // Each group has sums for all nodes.
    const most = Math.max(4, Math.floor(1.5e7 / model.count));
    if (parts.length > most) {
        const rest = parts.slice(most - 1);
        const label = `${rest.length} more`;
        parts = [...parts.slice(0, most - 1), { label, members: rest.flatMap((part) => part.members) }];
    }
    return parts.map(({ label, members }) => ({ label, nodes: [0], weights: () => weightsOf(model, members) }));
}

// By the innermost task of each stack, whose frames stand below it.
function taskGroups(model, threads) {
    const taskOf = new Int32Array(model.count).fill(-1);
    const roots = new Map([[-1, [0]]]);
    for (let node = 1; node < model.count; node++) {
        const key = functionOf(model, node);
        const isTask = model.functions[key].isTask;
        taskOf[node] = isTask ? key : taskOf[model.parent[node]];
        if (!isTask) continue;
        if (!roots.has(key)) roots.set(key, []);
        if (taskOf[model.parent[node]] !== key) roots.get(key).push(node);
    }
    const groups = [...roots].map(([key, nodes]) => ({
        label: key < 0 ? "no task" : model.functions[key].label,
        nodes,
        weights: () => weightsOf(model, threads, (node) => taskOf[node] === key),
    }));
    return groups.filter((group) => group.nodes.length > 0);
}

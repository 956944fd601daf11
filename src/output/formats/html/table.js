// The functions with what each took, of which only the rows in sight are made; and the callers and callees of one.

const LIST_ROW = 24;

// A new element with attributes and children; texts are texts, whatever is in them.
function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
        if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
        else if (value !== null && value !== undefined) element.setAttribute(name, value);
    }
    element.append(...children);
    return element;
}

class Table {
    // `choose` is told which function was chosen, `cells` gives what a row shows of own and total.
    constructor(list, heads, rows, choose) {
        Object.assign(this, { list, heads, rows, choose, order: "own", isReversed: false, shown: [], chosen: -1 });
        list.addEventListener("scroll", () => this.draw());
        list.addEventListener("keydown", (event) => this.pressed(event));
        new ResizeObserver(() => this.draw()).observe(list);
    }

    // Shows functions, by number, with what they took; those that are found first where something is searched.
    show(page, numbers) {
        this.page = page;
        this.numbers = numbers;
        if (page.model.isDiff && !this.list.classList.contains("diff")) this.order = "total";
        this.list.classList.toggle("diff", page.model.isDiff);
        this.sort();
    }

    sort() {
        const { model, sums } = this.page;
        const { share, shareBefore } = this.page;
        const changes = (name) => (key) => Math.abs(share(sums[name][key]) - shareBefore(sums[name + "Before"][key]));
        const value = {
            own: model.isDiff ? changes("own") : (key) => sums.own[key],
            total: model.isDiff ? changes("total") : (key) => sums.total[key],
        }[this.order];
        const text = (key) => model.functions[key][this.order];
        const byText = (one, other) => (text(one) < text(other) ? -1 : text(one) > text(other) ? 1 : 0);
        const turned = this.isReversed ? -1 : 1;
        this.shown = this.numbers.slice().sort((one, other) => {
            const difference = value ? value(other) - value(one) : byText(one, other);
            return turned * difference || sums.total[other] - sums.total[one] || one - other;
        });
        this.drawHeads();
        this.rows.style.height = this.shown.length * LIST_ROW + "px";
        this.list.setAttribute("aria-rowcount", this.shown.length + 1);
        this.draw();
    }

    drawHeads() {
        const heads = [["own", "Own"], ["total", "Total"], ["name", "Function"], ["place", "File and line"]];
        this.heads.replaceChildren(...heads.map(([order, text]) => {
            const isSorted = this.order === order;
            const isUp = (order === "name" || order === "place") !== this.isReversed;
            const [sorted, mark] = !isSorted ? ["none", ""] : isUp ? ["ascending", " ▲"] : ["descending", " ▼"];
            const head = make("div", { role: "columnheader", "aria-sort": sorted });
            head.append(make("button", { type: "button", onclick: () => this.sortBy(order) }, text + mark));
            if (order === "own" || order === "total") head.style.textAlign = "right";
            return head;
        }));
    }

    sortBy(order) {
        this.isReversed = this.order === order && !this.isReversed;
        this.order = order;
        this.sort();
    }

    draw() {
        if (!this.page || this.list.clientHeight === 0) return;
        const first = Math.max(0, Math.floor(this.list.scrollTop / LIST_ROW) - 5);
        const last = Math.min(this.shown.length, first + Math.ceil(this.list.clientHeight / LIST_ROW) + 10);
        const rows = [];
        for (let at = first; at < last; at++) rows.push(this.rowOf(at));
        this.rows.replaceChildren(...rows);
    }

    rowOf(at) {
        const key = this.shown[at];
        const { page } = this;
        const { name, place } = page.model.functions[key];
        const isChosen = key === this.chosen;
        const row = make("div", { role: "row", "aria-rowindex": at + 2, "aria-selected": isChosen });
        row.addEventListener("click", () => this.select(at));
        row.style.top = at * LIST_ROW + "px";
        for (const sum of ["own", "total"]) {
            const { texts, share, className } = page.cell(sum, key);
            const [first, second] = texts;
            const cell = make("div", { role: "gridcell", class: "number bar " + className },
                make("span", { class: "amount" }, first + " "), second);
            cell.style.setProperty("--share", share * 100 + "%");
            row.append(cell);
        }
        const isHit = page.isHit !== null && page.isHit[key] === 1;
        row.append(make("div", { role: "gridcell", class: isHit ? "name hit" : "name", title: name }, name));
        row.append(make("div", { role: "gridcell", class: "place", title: place }, place));
        return row;
    }

    select(at) {
        if (this.shown.length === 0) return;
        const clamped = Math.min(Math.max(at, 0), this.shown.length - 1);
        this.chosen = this.shown[clamped];
        const y = clamped * LIST_ROW;
        const head = this.heads.offsetHeight;
        if (y < this.list.scrollTop) this.list.scrollTop = y;
        else if (y + LIST_ROW + head > this.list.scrollTop + this.list.clientHeight) {
            this.list.scrollTop = y + LIST_ROW + head - this.list.clientHeight;
        }
        this.draw();
        this.choose(this.chosen);
    }

    pressed(event) {
        const at = this.shown.indexOf(this.chosen);
        const page = Math.floor(this.list.clientHeight / LIST_ROW) - 2;
        const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
        if (!(event.key in steps) || event.target.tagName === "BUTTON") return;
        event.preventDefault();
        this.select(at < 0 ? 0 : at + steps[event.key]);
    }
}

// The callers and callees of something, as two tables whose functions can be chosen.
function neighbourTables(page, isIt, whole, choose) {
    const { callers, callees } = neighbours(page.model, page.weights, isIt);
    const table = (title, pairs) => {
        const rows = pairs.slice(0, 100).map(([key, weight]) => {
            const label = key < 0 ? "(outermost)" : page.model.functions[key].label;
            const button = () => make("button", { type: "button", title: label, onclick: () => choose(key) }, label);
            const name = key < 0 ? label : button();
            const amount = `${page.amount(weight)} ${page.percent(weight, whole).padStart(7)}`;
            return make("tr", {}, make("td", { class: "number" }, amount), make("td", {}, name));
        });
        if (rows.length === 0) rows.push(make("tr", {}, make("td", {}, "none")));
        return make("div", {}, make("h3", {}, title), make("table", { class: "pairs" }, make("tbody", {}, ...rows)));
    };
    return make("div", { class: "both" }, table("Called by", callers), table("Calls", callees));
}

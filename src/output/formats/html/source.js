// The source of a file with what each of its lines took; a line tells who called its function there, and whom it calls.

class Source {
    constructor(select, about, code, around) {
        Object.assign(this, { select, about, code, around, file: -1, line: 0 });
        select.addEventListener("change", () => this.open(Number(select.value), 0));
        code.addEventListener("keydown", (event) => this.pressed(event));
    }

    // Files with what was spent in them, the heaviest first.
    show(page) {
        this.page = page;
        const { model, lineSums } = page;
        const times = new Float64Array(model.data.files.length);
        for (let frame = 0; frame < model.frameFunction.length; frame++) {
            const { file } = model.functions[model.frameFunction[frame]];
            if (file >= 0) times[file] += lineSums.own[frame];
        }
        const order = [...times.keys()].sort((one, other) => times[other] - times[one]);
        this.select.replaceChildren(...order.map((file) => {
            const text = `${page.percent(times[file], page.weights.total[0])}  ${model.data.files[file][0]}`;
            return make("option", { value: file }, text);
        }));
        this.open(this.file >= 0 ? this.file : order.length > 0 ? order[0] : -1, this.line);
    }

    // Opens a file at a line; 0 for its hottest.
    open(file, line) {
        this.file = file;
        this.around.replaceChildren();
        if (file < 0) {
            this.code.replaceChildren();
            this.about.textContent = "No file has samples.";
            return;
        }
        this.select.value = file;
        const { model, lineSums } = this.page;
        const lines = new Map();
        for (let frame = 0; frame < model.frameFunction.length; frame++) {
            if (model.functions[model.frameFunction[frame]].file !== file) continue;
            const number = model.frameLine[frame];
            const sum = lines.get(number) || { own: 0, total: 0, frames: new Set() };
            sum.own += lineSums.own[frame];
            sum.total += lineSums.total[frame];
            sum.frames.add(frame);
            lines.set(number, sum);
        }
        this.lines = lines;
        const full = model.data.files[file][1];
        const pieces = model.pieces[file];
        this.about.textContent = full + (pieces.length > 0 ? "" : " (its text was not found)");
        this.hottest = Math.max(1, ...[...lines.values()].map((sum) => sum.total));
        const heads = make("div", { role: "row", class: "heads" }, make("span", { class: "own" }, "own"),
            make("span", { class: "total" }, "total"), make("span", { class: "line" }, "line"),
            make("span", {}, "source"));
        this.code.replaceChildren(heads, ...this.rowsOf(pieces, lines));
        const hottest = [...lines].sort((one, other) => other[1].own - one[1].own || other[1].total - one[1].total)[0];
        const at = line > 0 ? line : hottest ? hottest[0] : 0;
        this.chooseLine(at);
    }

    rowsOf(pieces, lines) {
        const texts = new Map();
        for (const [first, text] of pieces) text.split("\n").forEach((line, at) => texts.set(first + at, line));
        for (const number of lines.keys()) if (!texts.has(number)) texts.set(number, "");
        const numbers = [...texts.keys()].sort((one, other) => one - other);
        const rows = [];
        let last = 0;
        for (const number of numbers) {
            const isGap = last > 0 && number > last + 1;
            if (isGap) rows.push(make("div", { role: "row", class: "gap" }, make("span", {}, "⋯")));
            last = number;
            rows.push(this.rowOf(number, texts.get(number), lines.get(number)));
        }
        return rows;
    }

    rowOf(number, text, sum) {
        const shown = (weight) => (sum && weight > 0 ? this.page.amount(weight) : "");
        const row = make("div", { role: "row", class: sum ? "seen" : "", "data-line": number },
            make("span", { role: "gridcell", class: "own" }, shown(sum && sum.own)),
            make("span", { role: "gridcell", class: "total" }, shown(sum && sum.total)),
            make("span", { role: "gridcell", class: "line" }, number > 0 ? String(number) : "?"),
            make("span", { role: "gridcell" }, text));
        if (sum) {
            row.style.setProperty("--warm", (4 + (sum.total / this.hottest) * 60).toFixed(1) + "%");
            row.addEventListener("click", () => this.chooseLine(number));
        }
        return row;
    }

    chooseLine(number) {
        for (const row of this.code.querySelectorAll("[aria-selected]")) row.removeAttribute("aria-selected");
        this.line = number;
        const row = this.code.querySelector(`[data-line="${number}"]`);
        const sum = this.lines.get(number);
        if (row === null) return;
        row.setAttribute("aria-selected", "true");
        row.scrollIntoView({ block: "center" });
        this.around.replaceChildren();
        if (!sum) return;
        const { page } = this;
        const head = `Line ${number}: own ${page.amount(sum.own)}, total ${page.amount(sum.total)}`;
        const tables = neighbourTables(page, (frame) => sum.frames.has(frame), sum.total, page.chooseFunction);
        this.around.append(make("h2", {}, head), tables);
    }

    // Up and down go from line with samples to line with samples.
    pressed(event) {
        if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
        event.preventDefault();
        const numbers = [...this.lines.keys()].sort((one, other) => one - other);
        const next = event.key === "ArrowDown" ? numbers.find((number) => number > this.line)
            : numbers.findLast((number) => number < this.line);
        if (next !== undefined) this.chooseLine(next);
    }
}

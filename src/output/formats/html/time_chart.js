// Time from left to right: for each thread its calls, which go on for as long as neighbouring samples have the same
// functions up to them.

class TimeChart {
    constructor(model, threads) {
        this.model = model;
        this.lanes = threads.filter((thread) => thread.time.length > 0).map((thread) => this.laneOf(thread));
        this.end = Math.max(1, ...this.lanes.map((lane) => lane.end));
        [this.from, this.to] = [0, this.end];
    }

    laneOf(thread) {
        const { model } = this;
        const lane = { label: `${thread.label} — ${thread.process}`, rows: [], end: 0 };
        let [path, open, now] = [[], [], 0];
        const close = (depth) => {
            while (open.length > depth) {
                const call = open.pop();
                const row = lane.rows[open.length];
                row.starts.push(call.start);
                row.ends.push(now);
                row.functions.push(call.key);
            }
        };
        for (let at = 0; at < thread.time.length; at += 3) {
            const [gap, length, node] = thread.time.slice(at, at + 3);
            if (gap > 0) {
                close(0);
                path = [];
                now += gap;
            }
            const depth = model.depth[node];
            const above = path.slice(0, depth);
            let known = depth;
            // Up to the first caller that is where it was.
            for (let up = node; known > 0 && above[known - 1] !== up; known--) {
                above[known - 1] = up;
                up = model.parent[up];
            }
            while (known < depth && known < open.length && open[known].key === functionOf(model, above[known])) known++;
            close(known);
            for (let level = known; level < depth; level++) {
                if (!lane.rows[level]) lane.rows[level] = { starts: [], ends: [], functions: [] };
                open.push({ key: functionOf(model, above[level]), start: now });
            }
            path = above;
            now += length;
        }
        close(0);
        lane.end = now;
        // Calls are written down when they end; those of a row do not overlap, so they are in order.
        return lane;
    }

    // Rows of boxes for the stretch of time that is shown, a heading above each thread.
    layout(width) {
        const rows = [];
        const scale = width / (this.to - this.from);
        for (const lane of this.lanes) {
            rows.push([{ x: 0, width, heading: lane.label }]);
            for (const { starts, ends, functions } of lane.rows) {
                const boxes = [];
                let [low, high] = [0, starts.length];
                while (low < high) {
                    const middle = (low + high) >> 1;
                    if (ends[middle] <= this.from) low = middle + 1;
                    else high = middle;
                }
                let drawnTo = -1;
                for (let at = low; at < starts.length && starts[at] < this.to; at++) {
                    const [start, end] = [Math.max(starts[at], this.from), Math.min(ends[at], this.to)];
                    const x = (start - this.from) * scale;
                    const right = (end - this.from) * scale;
                    if (right - x < NARROWEST && right - drawnTo < NARROWEST) continue;
                    drawnTo = right;
                    boxes.push({ x, width: right - x, call: { key: functions[at], start: starts[at], end: ends[at] } });
                }
                rows.push(boxes);
            }
        }
        return rows;
    }

    show(from, to) {
        const span = Math.min(Math.max(to - from, 10), this.end);
        this.from = Math.min(Math.max(from, 0), this.end - span);
        this.to = this.from + span;
    }

    zoomAt(share, factor) {
        const at = this.from + share * (this.to - this.from);
        this.show(at - (at - this.from) * factor, at + (this.to - at) * factor);
    }

    pan(share) {
        const by = share * (this.to - this.from);
        this.show(this.from + by, this.to + by);
    }

    // Round times some hundred pixels apart: where, and what they are called.
    ticks(width) {
        const least = ((this.to - this.from) * 110) / width;
        const power = 10 ** Math.floor(Math.log10(least));
        const step = Math.max(1, power * [1, 2, 5, 10].find((times) => power * times >= least));
        const digits = Math.min(6, Math.max(0, Math.ceil(6 - Math.log10(step))));
        const ticks = [];
        for (let at = Math.ceil(this.from / step) * step; at <= this.to; at += step) {
            const x = ((at - this.from) * width) / (this.to - this.from);
            ticks.push({ x, text: (at / 1e6).toFixed(digits) + " s" });
        }
        return ticks;
    }
}

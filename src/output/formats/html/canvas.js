// Draws rows of boxes on a canvas that stays in sight while what it shows is scrolled, and finds boxes again. Only rows
// in sight are drawn, so depth costs nothing.

const ROW = 18;
const FONT = "12px ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace";

class Canvas {
    // `painter` says of a box what it is called, its colour, and whether it is found, focused or gone.
    constructor(canvas, scroll, height, painter) {
        Object.assign(this, { canvas, scroll, height, painter, rows: [], top: 0, isUpward: false });
        this.context = canvas.getContext("2d");
        this.context.font = FONT;
        this.letter = this.context.measureText("0".repeat(100)).width / 100;
        scroll.addEventListener("scroll", () => this.drawSoon());
    }

    get width() {
        return Math.max(this.scroll.clientWidth, 60);
    }

    // `top` pixels above the rows are for an axis.
    show(rows, isUpward, top = 0) {
        Object.assign(this, { rows, isUpward, top });
        const height = top + rows.length * ROW;
        this.height.style.height = Math.max(height, this.scroll.clientHeight) + "px";
        this.drawSoon();
    }

    drawSoon() {
        if (this.isDue) return;
        this.isDue = true;
        requestAnimationFrame(() => {
            this.isDue = false;
            this.draw();
        });
    }

    // The upper edge of a row, as it is scrolled.
    edgeOf(row) {
        const all = this.rows.length * ROW;
        const room = Math.max(all, this.scroll.clientHeight - this.top);
        const y = this.isUpward ? room - (row + 1) * ROW : row * ROW;
        return this.top + y - this.scroll.scrollTop;
    }

    draw() {
        const { canvas, context, width } = this;
        const height = this.scroll.clientHeight;
        const ratio = window.devicePixelRatio || 1;
        if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
            canvas.width = Math.round(width * ratio);
            canvas.height = Math.round(height * ratio);
            canvas.style.width = width + "px";
            canvas.style.height = height + "px";
        }
        context.setTransform(ratio, 0, 0, ratio, 0, 0);
        context.clearRect(0, 0, width, height);
        context.font = FONT;
        context.textBaseline = "middle";
        const colors = this.painter.colors();
        for (let row = 0; row < this.rows.length; row++) {
            const y = this.edgeOf(row);
            if (y > height || y < -ROW || !this.rows[row]) continue;
            for (const box of this.rows[row]) this.drawBox(box, y, colors);
        }
        this.painter.over(context, width, height, colors);
    }

    drawBox(box, y, colors) {
        const { context, painter } = this;
        const width = box.width > 3 ? box.width - 1 : box.width;
        if (box.heading !== undefined) {
            context.fillStyle = colors.text;
            context.fillText(this.clipped(box.heading, this.width - 12), 6, y + ROW / 2);
            return;
        }
        const { fill, isHit, isGone } = painter.look(box);
        context.globalAlpha = box.isPart ? 0.55 : 1;
        context.fillStyle = isHit ? colors.hit : fill;
        if (isGone && !isHit) context.globalAlpha = 0.35;
        context.fillRect(box.x, y, Math.max(width, 0.6), ROW - 1);
        context.globalAlpha = 1;
        if (isGone) {
            context.strokeStyle = colors.accent;
            context.setLineDash([4, 2]);
            context.strokeRect(box.x + 0.5, y + 0.5, Math.max(width - 1, 0), ROW - 2);
            context.setLineDash([]);
        }
        if (painter.isFocused(box)) {
            context.strokeStyle = colors.text;
            context.lineWidth = 2;
            context.strokeRect(box.x + 1, y + 1, Math.max(width - 2, 1), ROW - 3);
            context.lineWidth = 1;
        }
        if (width < 3 * this.letter + 6) return;
        context.fillStyle = isHit ? colors.onHit : isGone || box.isPart ? colors.text : "#111";
        const shown = this.clipped(painter.label(box), width - 6);
        if (shown !== "…") context.fillText(shown, box.x + 3, y + ROW / 2);
    }

    // As much of a text as fits; only letters that may be wide are measured.
    clipped(text, width) {
        if (text.length * this.letter <= width && /^[\x20-\x7e]*$/.test(text)) return text;
        const letters = Math.floor(width / this.letter);
        if (/^[\x20-\x7e]*$/.test(text)) return text.slice(0, Math.max(0, letters - 1)) + "…";
        if (this.context.measureText(text).width <= width) return text;
        let [kept, used] = ["", this.letter];
        for (const letter of text) {
            used += letter < "\x7f" ? this.letter : this.context.measureText(letter).width;
            if (used > width) break;
            kept += letter;
        }
        return kept + "…";
    }

    // The box at a place of the window.
    at(clientX, clientY) {
        const bounds = this.canvas.getBoundingClientRect();
        const [x, y] = [clientX - bounds.left, clientY - bounds.top];
        const first = this.edgeOf(0);
        const row = this.isUpward ? Math.floor((first + ROW - 1 - y) / ROW) : Math.floor((y - first) / ROW);
        if (y < this.top) return null;
        return (this.rows[row] || []).find((box) => box.x <= x && x < box.x + Math.max(box.width, 1)) || null;
    }

    // Scrolls so that a row is in sight.
    reveal(row) {
        const y = this.edgeOf(row);
        const room = this.scroll.clientHeight;
        if (y < this.top) this.scroll.scrollTop += y - this.top - ROW;
        else if (y + ROW > room) this.scroll.scrollTop += y + 2 * ROW - room;
    }
}

// The colour of a frame: by the kind of its code, a shade by its name, always the same.
function colourOf(kinds, kind, name) {
    let hash = 2166136261;
    for (let at = 0; at < name.length; at++) hash = Math.imul(hash ^ name.charCodeAt(at), 16777619);
    const share = ((hash >>> 8) & 0xffff) / 0xffff;
    const [, from, to] = kinds[kind];
    return rgb(from, to, share);
}

function rgb(from, to, share) {
    return `rgb(${[0, 1, 2].map((at) => Math.round(from[at] + share * (to[at] - from[at]))).join(",")})`;
}


"use strict";
(function () {
    const SVG = "http://www.w3.org/2000/svg";
    const HTML = "http://www.w3.org/1999/xhtml";
    const BORDER = 10;
    // From one line of the head to the next, within a text and between texts, in pixels.
    const [LINE, ROW] = [16, 20];
    // Of a window that is narrow, lines for what is told of a frame.
    const DETAILS = 2;
    // Without a button of the mouse pressed longer than this, in pixels, it is a click.
    const DRAGGED = 4;
    const svg = document.documentElement;
    const get = (id) => document.getElementById(id);
    const SEARCH = "Search (regular expression)";
    const clamped = (value, least, most) => Math.min(Math.max(value, least), most);
    let chart, head, kind, unit, end, controls, search, unzoom;
    let texts, frames, byGroup, hits = [];
    // The picture's height, and the lowest line of its head, as they were written; the window is narrow.
    let height, bottom, isNarrow = false;
    // What is shown, and the pixels that it has; the pixels of a letter; the mouse's last place.
    let from = 0, to, inner, letter, mouse, hovered = null, lastHit = -1;
    let drag = null, wasDragged = false, isDue = false;

    window.addEventListener("load", () => {
        [chart, head] = [get("chart"), get("head")];
        ({ kind, unit } = chart.dataset);
        to = end = Number(chart.dataset.end);
        frames = Array.from(chart.getElementsByClassName("frame"), frameOf);
        byGroup = new Map(frames.map((frame) => [frame.group, frame]));
        texts = { title: get("title").textContent, subtitle: get("subtitle").textContent };
        [height, bottom] = [svg.getAttribute("height"), get("details").getAttribute("y")].map(Number);
        get("subtitle").textContent = "0".repeat(100);
        letter = get("subtitle").getComputedTextLength() / 100 || 7.3;
        svg.removeAttribute("viewBox");
        svg.setAttribute("width", "100%");
        addControls();
        fit();
        if (chart.dataset.upward) window.scrollTo(0, Number(svg.getAttribute("height")));
        keepHeadInSight();
        window.addEventListener("resize", fit);
        window.addEventListener("scroll", keepHeadInSight);
        window.addEventListener("keydown", pressed);
        svg.addEventListener("click", clicked);
        svg.addEventListener("mouseover", (event) => {
            hovered = frameAt(event.target);
            tellHovered();
        });
        svg.addEventListener("wheel", wheeled, { passive: false });
        svg.addEventListener("pointerdown", dragBegun);
        svg.addEventListener("pointermove", dragMoved);
        svg.addEventListener("pointerup", dragEnded);
        // Dragging moves the chart and selects none of its texts.
        svg.addEventListener("selectstart", (event) => drag !== null && event.preventDefault());
        svg.addEventListener("pointercancel", () => { drag = null; });
    });

    function frameOf(group) {
        const title = group.querySelector("title").textContent;
        const start = Number(group.dataset.x);
        const rect = group.querySelector("rect");
        const name = title.slice(0, title.lastIndexOf(" ("));
        const text = group.querySelector("text");
        const lane = group.parentNode;
        const fill = rect.getAttribute("fill");
        const length = Number(group.dataset.w);
        return { group, title, name, rect, text, fill, lane, start, end: start + length, shown: text ? text.textContent : "" };
    }

    function frameAt(target) {
        const group = target.closest ? target.closest(".frame") : null;
        return (group && byGroup.get(group)) || null;
    }

    // Real controls, which only a script could serve.
    function addControls() {
        controls = document.createElementNS(SVG, "foreignObject");
        const box = document.createElementNS(HTML, "div");
        box.id = "controls";
        unzoom = button("unzoom", "Reset zoom", all);
        unzoom.className = "unneeded";
        if (kind === "diff") box.append(button("own", "Colours: total", colourBy));
        search = document.createElementNS(HTML, "input");
        search.id = "search";
        search.type = "search";
        search.setAttribute("aria-label", SEARCH);
        search.addEventListener("input", find);
        box.append(unzoom, search);
        controls.append(box);
        controls.setAttribute("height", 28);
        head.append(controls);
    }

    function button(id, text, act) {
        const made = document.createElementNS(HTML, "button");
        made.id = id;
        made.type = "button";
        made.textContent = text;
        made.addEventListener("click", act);
        return made;
    }

    function colourBy() {
        const own = get("own").textContent === "Colours: total";
        get("own").textContent = own ? "Colours: own" : "Colours: total";
        for (const frame of frames) frame.rect.setAttribute("fill", own ? frame.group.dataset.own : frame.fill);
    }

    function fit() {
        const width = svg.clientWidth || window.innerWidth;
        inner = Math.max(width - 2 * BORDER, 50);
        chart.setAttribute("width", inner);
        const wanted = kind === "diff" ? 490 : 365;
        // Beside the title there is no room for controls that can be used: they have a line of their own.
        isNarrow = inner * 0.6 < wanted * 0.75;
        const room = isNarrow ? inner : Math.min(wanted, inner * 0.6);
        controls.setAttribute("x", width - BORDER - room);
        controls.setAttribute("y", isNarrow ? 34 : 6);
        controls.setAttribute("width", room);
        controls.firstChild.classList.toggle("narrow", isNarrow);
        search.placeholder = isNarrow ? "Search" : SEARCH;
        // Bold letters of 16 pixels are a third wider.
        const letters = (isNarrow ? inner : inner - room) / (letter * 1.34) - 1;
        get("title").textContent = shortened(texts.title, letters);
        placeHead();
        draw();
    }

    // What is below the title, one below the other, in as many lines as this width takes; the picture begins below it.
    function placeHead() {
        const parts = texts.subtitle.split(/( · )/);
        const pieces = parts.filter((_, at) => at % 2 === 0).map((part, at) => part + (parts[2 * at + 1] || ""));
        let y = Number(get("title").getAttribute("y")) + ROW + (isNarrow ? 36 : 0);
        y = putLines("subtitle", y, inLines(pieces, Math.floor(inner / letter), pieces.length));
        y = placeLegend(y + ROW) + ROW;
        get("details").setAttribute("y", y);
        // Of what is found a line of its own, for it would take all of the other.
        y += isNarrow ? DETAILS * LINE : 0;
        get("matched").setAttribute("x", BORDER + inner);
        get("matched").setAttribute("y", y);
        const axis = get("axis");
        const by = y - bottom;
        if (axis) axis.setAttribute("transform", "translate(0," + by + ")");
        head.querySelector(".back").setAttribute("height", Number(chart.dataset.top) - 2 + by);
        chart.setAttribute("y", by);
        svg.setAttribute("height", height + by);
    }

    // The colours with their meanings, from left to right, as many in a line as there is room for; the last line's y.
    function placeLegend(y) {
        let x = BORDER;
        for (const swatch of head.querySelectorAll(".swatch")) {
            const meaning = swatch.nextElementSibling;
            const width = 17 + columns(meaning.textContent) * letter;
            if (x > BORDER && x + width > BORDER + inner) [x, y] = [BORDER, y + LINE];
            swatch.setAttribute("x", x);
            swatch.setAttribute("y", y - 10);
            meaning.setAttribute("x", x + 17);
            meaning.setAttribute("y", y);
            x += width + 16;
        }
        return y;
    }

    // A text in lines from `y` on; the last one's y.
    function putLines(id, y, lines) {
        const spans = lines.map((line, at) => {
            const span = document.createElementNS(SVG, "tspan");
            span.setAttribute("x", BORDER);
            span.setAttribute("y", y + at * LINE);
            span.textContent = line;
            return span;
        });
        get(id).replaceChildren(...spans);
        return y + Math.max(lines.length - 1, 0) * LINE;
    }

    // Pieces of a text in lines of so many letters, not more than `most`: what is too long is cut.
    function inLines(pieces, letters, most) {
        const lines = [];
        let line = "";
        for (const piece of pieces) {
            if (line !== "" && columns((line + piece).trimEnd()) > letters && lines.length + 1 < most) {
                lines.push(line);
                line = "";
            }
            line += piece;
        }
        // A blank at the end is not seen, so it need not fit.
        return [...lines, line].map((line) => (columns(line.trimEnd()) > letters ? clipped(line, letters) : line));
    }

    function columns(text) {
        return Array.from(text).reduce((sum, character) => sum + columnsOf(character), 0);
    }

    // Letters of East Asian scripts and pictures are twice as wide.
    function columnsOf(character) {
        return character.codePointAt(0) < 0x1100 ? 1 : 2;
    }

    // Without its middle where it does not fit: both ends of a command tell what it is.
    function shortened(text, letters) {
        if (text.length <= letters) return text;
        const end = Math.max(1, Math.floor(letters * 0.6));
        return text.slice(0, Math.max(1, Math.floor(letters) - end - 1)) + "…" + text.slice(-end);
    }

    // As much of a text as fits.
    function clipped(text, letters) {
        if (text.length * 2 <= letters) return text;
        let used = 0, kept = "";
        for (const character of text) {
            const width = columnsOf(character);
            if (used + width > letters - 1) {
                const isLast = kept.length + character.length === text.length && used + width <= letters;
                return isLast ? text : kept + "…";
            }
            used += width;
            kept += character;
        }
        return text;
    }

    function keepHeadInSight() {
        head.setAttribute("transform", "translate(0," + window.scrollY + ")");
    }

    // Once for what happens at about the same time, however many events that are.
    function drawSoon() {
        if (isDue) return;
        isDue = true;
        setTimeout(() => {
            isDue = false;
            draw();
        }, 10);
    }

    function draw() {
        const scale = inner / (to - from);
        for (const frame of frames) {
            const start = Math.max(frame.start, from);
            const width = (Math.min(frame.end, to) - start) * scale;
            const isShown = width > 0;
            frame.group.classList.toggle("hide", !isShown);
            if (!isShown) continue;
            const x = (start - from) * scale;
            frame.rect.setAttribute("x", x.toFixed(2));
            // A gap between neighbours that can be told apart.
            frame.rect.setAttribute("width", (width > 3 ? width - 0.8 : width).toFixed(2));
            if (kind !== "chart") frame.group.classList.toggle("part", frame.start < from || frame.end > to);
            label(frame, x, width);
        }
        if (kind === "chart") drawAxis(scale);
        unzoom.classList.toggle("unneeded", from === 0 && to === end);
        tellMatched();
        tellHovered();
    }

    function label(frame, x, width) {
        const letters = Math.floor((width - 6) / letter);
        const shown = letters < 3 ? "" : clipped(frame.name, letters);
        if (shown !== "" && frame.text === null) {
            frame.text = document.createElementNS(SVG, "text");
            frame.text.setAttribute("y", Number(frame.rect.getAttribute("y")) + 12);
            frame.group.append(frame.text);
        }
        if (frame.text === null) return;
        if (shown !== frame.shown) frame.text.textContent = frame.shown = shown;
        if (shown !== "") frame.text.setAttribute("x", (x + 3).toFixed(2));
    }

    // Ticks at round times, some hundred pixels apart.
    function drawAxis(scale) {
        const least = 110 / scale;
        const power = 10 ** Math.floor(Math.log10(least));
        const step = Math.max(1, power * [1, 2, 5, 10].find((times) => power * times >= least));
        const [ticks, times] = [get("ticks"), get("times")];
        ticks.replaceChildren();
        times.replaceChildren();
        for (let at = Math.ceil(from / step) * step; at <= to; at += step) {
            const x = (at - from) * scale;
            const line = ticks.appendChild(document.createElementNS(SVG, "line"));
            line.setAttribute("class", "tick");
            line.setAttribute("x1", x);
            line.setAttribute("x2", x);
            line.setAttribute("y1", chart.dataset.top);
            line.setAttribute("y2", svg.getAttribute("height"));
            const text = times.appendChild(document.createElementNS(SVG, "text"));
            text.setAttribute("class", "time");
            text.setAttribute("x", x + BORDER);
            text.setAttribute("y", times.dataset.y);
            text.setAttribute("text-anchor", x < 40 ? "start" : x > inner - 40 ? "end" : "middle");
            text.textContent = seconds(at, step);
        }
    }

    // Enough digits to tell times apart that lie a step from each other.
    function seconds(us, step) {
        const digits = clamped(Math.ceil(6 - Math.log10(step)), 0, 6);
        return (us / 1e6).toFixed(digits) + " s";
    }

    function length(us) {
        if (us < 1e3) return us.toFixed(0) + " µs";
        return us < 1e6 ? (us / 1e3).toFixed(2) + " ms" : (us / 1e6).toFixed(3) + " s";
    }

    function show(start, stop) {
        const least = Math.min(end, kind === "chart" ? 10 : Math.max(end / 1e7, 1));
        const span = clamped(stop - start, least, end);
        from = clamped(start, 0, end - span);
        to = from + span;
        drawSoon();
    }

    function all() {
        show(0, end);
        // The class is on every frame that was found.
        search.value = "";
        find();
    }

    function place(clientX) {
        return Math.round(from + (clamped(clientX - BORDER, 0, inner) / inner) * (to - from));
    }

    function zoomAt(clientX, factor) {
        const at = place(clientX);
        show(at - (at - from) * factor, at + (to - at) * factor);
    }

    function pan(share) {
        const by = share * (to - from);
        show(from + by, to + by);
    }

    function clicked(event) {
        const frame = frameAt(event.target);
        if (frame && !wasDragged) show(frame.start, frame.end);
        wasDragged = false;
    }

    function canScroll() {
        return Number(svg.getAttribute("height")) > window.innerHeight;
    }

    // The wheel zooms; but where the picture is taller than the window it scrolls, as anywhere, and zooms with Ctrl.
    function wheeled(event) {
        const isZoom = event.ctrlKey || (kind === "chart" && (!canScroll() || event.target.closest("#axis")));
        if (!isZoom && !(kind === "chart" && Math.abs(event.deltaX) > Math.abs(event.deltaY))) return;
        event.preventDefault();
        const unit = event.deltaMode === 1 ? 16 : event.deltaMode === 2 ? 400 : 1;
        if (isZoom && Math.abs(event.deltaX) <= Math.abs(event.deltaY)) {
            zoomAt(event.clientX, Math.exp(clamped(event.deltaY * unit, -400, 400) * 0.002));
        } else {
            pan((event.deltaX * unit) / inner);
        }
    }

    function inOrder(one, other) {
        return one <= other ? [one, other] : [other, one];
    }

    // Dragging moves a chart; on its axis, it chooses a stretch of time to be shown.
    function dragBegun(event) {
        wasDragged = false;
        if (event.button !== 0 || kind !== "chart" || !event.target.closest || controls.contains(event.target)) return;
        const isAxis = event.target.closest("#axis") !== null;
        if (!isAxis && head.contains(event.target)) return;
        drag = { isAxis, x: event.clientX, y: event.clientY, from, to, top: window.scrollY, at: place(event.clientX) };
    }

    function dragMoved(event) {
        mouse = event.clientX;
        if (drag === null) return;
        const [x, y] = [event.clientX - drag.x, event.clientY - drag.y];
        if (!wasDragged && Math.hypot(x, y) < DRAGGED) return;
        if (!wasDragged) svg.setPointerCapture(event.pointerId);
        wasDragged = true;
        event.preventDefault();
        if (drag.isAxis) {
            const [one, other] = inOrder(...[drag.x, event.clientX].map((x) => clamped(x - BORDER, 0, inner)));
            get("selected").setAttribute("x", one);
            get("selected").setAttribute("width", other - one);
            return;
        }
        const by = (-x / inner) * (drag.to - drag.from);
        show(drag.from + by, drag.to + by);
        window.scrollTo(window.scrollX, drag.top - y);
    }

    function dragEnded(event) {
        if (drag !== null && drag.isAxis && wasDragged) {
            const [one, other] = inOrder(drag.at, place(event.clientX));
            get("selected").setAttribute("width", 0);
            show(one, other);
        }
        drag = null;
    }

    function pressed(event) {
        if (event.key === "Escape") {
            search.blur();
            all();
            return;
        }
        const isFind = event.key === "F3" || ((event.ctrlKey || event.metaKey) && event.key === "f");
        if (isFind || (event.key === "/" && event.target !== search)) {
            event.preventDefault();
            search.focus();
            search.select();
            return;
        }
        if (event.target === search) {
            if (event.key === "Enter") nextHit();
            return;
        }
        if (event.ctrlKey || event.metaKey || event.altKey) return;
        const at = mouse === undefined ? BORDER + inner / 2 : mouse;
        const acts = {
            w: () => zoomAt(at, 0.8),
            s: () => zoomAt(at, 1.25),
            a: () => pan(-0.2),
            d: () => pan(0.2),
            ArrowLeft: () => pan(-0.2),
            ArrowRight: () => pan(0.2),
        };
        const act = acts[event.key.length === 1 ? event.key.toLowerCase() : event.key];
        if (act) {
            event.preventDefault();
            act();
        }
    }

    // Small letters find capitals too.
    function find() {
        const text = search.value;
        let pattern = null;
        try {
            if (text !== "") pattern = new RegExp(text, text === text.toLowerCase() ? "i" : "");
            search.setCustomValidity("");
        } catch (error) {
            search.setCustomValidity(String(error.message));
        }
        hits = [];
        for (const frame of frames) {
            const isHit = pattern !== null && pattern.test(frame.name);
            frame.group.classList.toggle("hit", isHit);
            if (isHit) hits.push(frame);
        }
        const lanes = new Map();
        for (const hit of hits) if (!lanes.has(hit.lane)) lanes.set(hit.lane, lanes.size);
        hits.sort((one, other) => lanes.get(one.lane) - lanes.get(other.lane) || one.start - other.start);
        lastHit = -1;
        tellMatched();
        tellHovered();
    }

    // The time in which something that was found was on a stack, of what is shown.
    function tellMatched() {
        if (search.value === "" || search.validationMessage !== "") {
            get("matched").textContent = search.validationMessage || " ";
            return;
        }
        let sum = 0, calls = 0, lane = null, reached = 0;
        for (const hit of hits) {
            const [start, stop] = [Math.max(hit.start, from), Math.min(hit.end, to)];
            if (stop <= start) continue;
            if (hit.lane !== lane) [lane, reached] = [hit.lane, 0];
            calls += 1;
            sum += Math.max(0, stop - Math.max(start, reached));
            reached = Math.max(reached, stop);
        }
        const amount = Math.round(sum / 1e3).toLocaleString("en-US") + " " + unit;
        const share = ((sum * 100) / (to - from)).toFixed(2) + "%";
        const found = kind === "chart" ? length(sum) + " in " + calls + " calls" : amount + ", " + share;
        get("matched").textContent = "Matched: " + found;
    }

    function nextHit() {
        const seen = hits.filter((hit) => hit.end > from && hit.start < to);
        if (seen.length === 0) return;
        lastHit = (lastHit + 1) % seen.length;
        const y = Number(chart.getAttribute("y")) + Number(seen[lastHit].rect.getAttribute("y"));
        window.scrollTo(window.scrollX, y - window.innerHeight / 2);
        hovered = seen[lastHit];
        tellHovered();
    }

    function tellHovered() {
        const wheel = canScroll() ? "Ctrl+wheel" : "wheel";
        const ways = "Drag on the axis: zoom to a time. " + wheel + ", W, S: zoom. Drag, A, D: move. ";
        const hint = kind === "chart" ? "Click: zoom to a call. " + ways : "Click: zoom to a frame. ";
        const room = inner - (isNarrow ? 0 : 7 + get("matched").textContent.length * letter);
        const text = hovered === null ? hint + "Ctrl-F: search. Esc: all." : hovered.title;
        get("details").classList.toggle("note", hovered === null);
        const lines = inLines(text.match(/\S+\s*|\s+/g), Math.floor(room / letter), isNarrow ? DETAILS : 1);
        putLines("details", Number(get("details").getAttribute("y")), lines);
    }
})();
